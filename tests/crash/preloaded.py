"""A parent that has imported the service once and forks it on demand, so that a hundred crashes cost seconds.

Reads JSON lines: {"run": [words], "env": {...}, "log": path} answers {"pid": n}; {"poll": pid} answers {"ended":
code | null},
the code being negative for a signal. Nothing of the service has run before a fork: no loop, no socket, no thread.
"""

import json
import os
import sys

import bot.cli
from core.brain.classify import model

SERVICE = ("bot.app", "bot.runners", "jobs.worker", "anyio._backends._asyncio")
"""What the processes of the service import, the last of them when they first ask a provider."""


def run(words: list[str], env: dict[str, str], log: str) -> int:
    """Fork; the child becomes `python -m bot words…` with this environment."""
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, output), (2, output)):
        os.dup2(source, target)
    os.environ.update(env)
    code = 1
    try:
        code = bot.cli.main(words)
    finally:
        os._exit(code)


def poll(pid: int) -> int | None:
    """How the child ended; None while it runs."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def main() -> None:
    """Serve until standard input ends."""
    bot.cli.load(*SERVICE)
    model()
    for line in sys.stdin:
        asked = json.loads(line)
        if "run" in asked:
            answer: dict[str, int | None] = {"pid": run(asked["run"], asked["env"], asked["log"])}
        else:
            answer = {"ended": poll(asked["poll"])}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
    # Taking all that was imported apart, object by object, would take seconds.
    os._exit(0)
