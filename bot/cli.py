"""The commands of `python3 -m bot`. Imports only what the chosen command needs; without one, nothing but this file."""

import argparse
import gc
import importlib
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from core.errors import MathiaError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
MISSPELT = 0.9
"""How alike (0 to 1) an unknown name in .env must be to a setting's to be taken for a slip."""


class Command(NamedTuple):
    """A command: where its `main(args) -> int` is, plain or a coroutine function, beside `add_arguments(parser)`."""

    name: str
    module: str
    help: str
    settings: bool = True
    """Whether it reads the settings, so that a wrong one is said before anything starts."""
    passes_on: bool = False
    """Whether its arguments are another program's, passed on as they are in `args.rest`."""


COMMANDS = (
    Command("up", "bot.up", "start everything: servers, web, jobs, workflows, simulators"),
    Command("web", "bot.app", "the web process alone: chat, webhooks, admin, turns and delivery"),
    Command("turns", "bot.runners", "the turn and delivery runners alone"),
    Command("worker", "jobs.worker", "the job worker alone: due reminders and what follows them"),
    Command("temporal", "jobs.temporal", "the workflow worker alone"),
    Command("sandbox", "bot.sandbox.server", "the providers' simulators alone", settings=False),
    Command("keys", "bot.keys", "the keys that seal what people write", settings=False),
    Command("migrate", "bot.migrate", "bring the database to the newest migration"),
    Command("test", "bot.testing", "run the tests, on throw-away servers", settings=False, passes_on=True),
    Command("check", "bot.check", "lint, types, import rules, migrations, docs", settings=False),
    Command("bench", "bot.bench", "benchmarks, each beside its limit", settings=False),
    Command("parse", "core.brain.parse_lines", "JSON lines in, JSON lines out: what is understood", settings=False),
    Command("explain", "bot.explain", "why a message is understood as it is, and what would be done"),
    Command(
        "train",
        "core.brain.train",
        "the local brain's weights, from the lines in core/brain/utterances",
        settings=False,
    ),
    Command("chat", "bot.chat", "talk to a running Mathia from the terminal"),
    Command("docs", "bot.docs", "write the documents that are derived from the code", settings=False),
    Command("templates", "bot.templates", "WhatsApp's message templates: list, add, submit, refresh"),
    Command("workflow", "bot.workflows", "start and look at workflows"),
    Command("ledger", "bot.ledger", "recompute the books, or write them out as text"),
    Command("payments", "bot.payments", "payments that need a person, how one came to where it is, how it ended"),
    Command("admin-link", "bot.adminlink", "print a new sign-in link for the admin pages"),
)


def main(words: Sequence[str]) -> int:
    """Run one command; the exit code: 0 done, 1 failed, 2 wrong arguments or settings, 130 interrupted."""
    if not words:
        build_parser(None).print_help()
        return 0
    chosen = next((command for command in COMMANDS if command.name == words[0]), None)
    if chosen is None:
        build_parser(None).parse_args(words)  # Prints the help, or what is wrong, and ends the process.
        return EXIT_USAGE
    rest = argparse.Namespace(rest=list(words[1:]))
    arguments = rest if chosen.passes_on else build_parser(chosen).parse_args(words)
    if chosen.settings and (complaint := settings_complaint()):
        print(complaint, file=sys.stderr)
        return EXIT_USAGE
    return run(chosen, arguments)


def build_parser(chosen: Command | None) -> argparse.ArgumentParser:
    """The parser of all commands, with the arguments of `chosen`."""
    parser = argparse.ArgumentParser(
        prog="python3 -m bot",
        description="Mathia, an assistant people talk to where they already chat.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=20),
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    for command in COMMANDS:
        own = commands.add_parser(command.name, help=command.help, description=command.help)
        if command is chosen:
            add_arguments = getattr(load(command.module), "add_arguments", None)
            if add_arguments:
                add_arguments(own)
    return parser


def load(*names: str) -> ModuleType:
    """Import modules for good; the last of them.

    What is imported stays, so the garbage collector need not walk through it meanwhile (which would take as long as the
    importing itself), nor ever again (which would stop everything for a while each time).
    """
    gc.disable()
    try:
        modules = [importlib.import_module(name) for name in names]
        gc.freeze()
    finally:
        gc.enable()
    return modules[-1]


def run(command: Command, arguments: argparse.Namespace) -> int:
    """Call the command's main, in an event loop where it is a coroutine function; failures of ours as one sentence."""
    call = load(command.module).main
    try:
        given = call(arguments)
        return run_until_stopped(given) if isinstance(given, Coroutine) else int(given)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # Whoever read our output has gone; there is nobody to tell.
        return EXIT_FAILED
    except Exception as error:
        sentence = readable(error)
        if sentence is None:
            raise
        print(sentence, file=sys.stderr)
        return EXIT_FAILED


def run_until_stopped(work: Coroutine[Any, Any, int]) -> int:
    """Run `work` on uvloop. SIGINT and SIGTERM cancel it, which is a clean end: 0. A second one ends at once."""
    # Half of the commands have no use for these, and understanding a line is to begin in half a second.
    import asyncio
    import signal

    import uvloop

    stopped = False

    async def supervised() -> int:
        nonlocal stopped
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(work)

        def stop() -> None:
            nonlocal stopped
            stopped = True
            task.cancel()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        return int(await task)

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(supervised())
    except asyncio.CancelledError:
        if stopped:
            return 0
        raise


def readable(error: BaseException) -> str | None:
    """What to tell the person about an error of ours, also out of a group of them; None for a bug."""
    if isinstance(error, MathiaError):
        return str(error)
    if isinstance(error, BaseExceptionGroup):
        sentences = [readable(inner) for inner in error.exceptions]
        if all(sentences):
            return sentences[0]
    return None


def settings_complaint() -> str | None:
    """What is wrong with the settings, in one sentence for each; None where nothing is."""
    from pydantic import ValidationError

    from core.settings import Settings

    if misspelt := misspelt_settings(Path(".env"), [name.upper() for name in Settings.model_fields]):
        return "\n".join(misspelt)
    try:
        Settings()
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_url=False, include_input=False):
            name = "_".join(str(place) for place in problem["loc"]).upper()
            message = problem["msg"].removeprefix("Value error, ")
            lines.append(f"Setting {name}: {message}." if name else f"{message}.")
        return "\n".join(lines)
    return None


def misspelt_settings(file: Path, known: Sequence[str]) -> list[str]:
    """A sentence for each name in `file` that is almost a setting; other programs' settings may stand there too."""
    import difflib

    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        name = line.strip().removeprefix("export ").partition("=")[0].strip().upper()
        if "=" not in line or line.lstrip().startswith("#") or name in known:
            continue
        meant = difflib.get_close_matches(name, known, n=1, cutoff=MISSPELT)
        if meant:
            found.append(f"{file}: {name} is not a setting. Did you mean {meant[0]}?")
    return found
