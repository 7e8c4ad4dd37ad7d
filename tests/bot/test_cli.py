"""The command line: every command is there, help is quick, and mistakes are said in a sentence."""

import argparse
import asyncio
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from bot.cli import COMMANDS, Command, build_parser, readable
from bot.up import PartFailed, part
from core.errors import MathiaError

ROOT = Path(__file__).resolve().parents[2]
SLOW = ("aiohttp", "sqlalchemy", "asyncpg", "temporalio", "dramatiq", "telegram", "twilio", "pydantic_settings")


def bot(*words: str, said: str = "") -> "subprocess.CompletedProcess[str]":
    """Run `python -m bot WORDS` with `said` on its input."""
    return subprocess.run(
        [sys.executable, "-m", "bot", *words],
        cwd=ROOT,
        input=said,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("command", COMMANDS, ids=[command.name for command in COMMANDS])
def test_command_has_a_main_that_takes_arguments_and_a_line_of_help(command: Command) -> None:
    module = import_module(command.module)
    signature = inspect.signature(module.main)
    assert len(signature.parameters) == 1
    assert command.help
    if hasattr(module, "add_arguments"):
        module.add_arguments(argparse.ArgumentParser())
    assert command.name in build_parser(None).format_help()


def test_command_line_and_help_need_no_package() -> None:
    heavy = (*SLOW, "pydantic")
    code = f"import sys, bot.cli; bot.cli.main([]); sys.exit(any(name in sys.modules for name in {heavy!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: python3 -m bot" in done.stdout


def test_parsing_imports_no_server_library() -> None:
    code = f"import sys, core.brain.parse_lines; sys.exit([name for name in {SLOW!r} if name in sys.modules] or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", [["nonsense"], ["--port", "1"], ["up", "extra"], ["check", "nothing-of-the-kind"]])
def test_wrong_words_are_refused_with_code_two_and_without_a_traceback(words: list[str]) -> None:
    done = bot(*words)
    assert done.returncode == 2
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr


def test_failure_of_ours_is_shown_as_its_sentence_also_out_of_a_group() -> None:
    assert readable(MathiaError("No luck.")) == "No luck."
    assert readable(ExceptionGroup("several", [ExceptionGroup("inner", [MathiaError("No luck.")])])) == "No luck."
    assert readable(ExceptionGroup("several", [MathiaError("No luck."), KeyError("bug")])) is None
    assert readable(KeyError("bug")) is None


async def test_part_of_up_that_ends_is_named_with_its_reason() -> None:
    async def ends() -> None:
        return

    async def breaks() -> None:
        raise RuntimeError("the wheel came off")

    async def goes_on() -> None:
        await asyncio.Event().wait()

    with pytest.raises(PartFailed, match=r"the job worker ended by itself"):
        await part("the job worker", ends())
    with pytest.raises(PartFailed, match=r"the web server failed: RuntimeError: the wheel came off"):
        await part("the web server", breaks())
    stopped: list[asyncio.Task[None]] = []

    async def together() -> None:
        async with asyncio.TaskGroup() as group:
            stopped.append(group.create_task(part("the web server", goes_on())))
            group.create_task(part("the job worker", ends()))

    with pytest.raises(ExceptionGroup) as failure:
        await together()
    assert [task.cancelled() for task in stopped] == [True]
    assert readable(failure.value) == "Stopping, because the job worker ended by itself."
