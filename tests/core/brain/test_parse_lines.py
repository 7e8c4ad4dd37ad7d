"""`python3 -m bot parse`: the rules over a pipe, in a process of their own."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from core.brain.parse_lines import LINE_BYTES_MAX, answer

ROOT = Path(__file__).parents[3]
COMMANDS = ([sys.executable, "-m", "core.brain.parse_lines"], [sys.executable, "-m", "bot", "parse"])
QUESTION = {"now": "2026-11-24T10:15:30", "timezone": "Africa/Nairobi", "state": None}


def talk(data: bytes, command: list[str] = COMMANDS[0], **environment: str) -> list[dict[str, Any]]:
    """The answers to these bytes on standard input."""
    done = subprocess.run(
        command, input=data, capture_output=True, cwd=ROOT, timeout=60, check=True, env={**os.environ, **environment}
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def line(id: object, text: str, **more: object) -> bytes:
    return json.dumps({"id": id, "text": text, **QUESTION, **more}, ensure_ascii=False).encode() + b"\n"


@pytest.mark.parametrize("command", COMMANDS, ids=["module", "command"])
def test_every_line_is_answered_in_order(command: list[str]) -> None:
    answers = talk(
        line("a", "what's the weather in Nairobi?")
        + line("b", "convert 12.50 USD to KES")
        + line("c", "nikumbushe kesho saa tatu asubuhi nipige Asha 😀")
        + line(4, "never mind", state={"action": "get_weather", "params": {}, "asked": ["city"]}),
        command,
    )
    assert answers == [
        {"id": "a", "action": "get_weather", "params": {"city": "Nairobi"}, "confidence": 0.99},
        {
            "id": "b",
            "action": "convert_currency",
            "params": {"amount": 12.5, "from_currency": "USD", "to_currency": "KES"},
            "confidence": 0.99,
        },
        {
            "id": "c",
            "action": "set_reminder",
            "params": {"content": "nipige Asha 😀", "time": "2026-11-25T09:00"},
            "confidence": 0.99,
        },
        {"id": 4, "action": "none", "params": {}, "confidence": 0.95},
    ]


def test_the_state_of_a_dialog_is_heard() -> None:
    state = {
        "action": "get_weather",
        "params": {},
        "asked": ["city"],
        "offered": {},
        "bot": "Which city?",
        "history": {},
    }
    [answer] = talk(line(1, "kisumo", state=state))
    assert (answer["action"], answer["params"]) == ("get_weather", {"city": "Kisumu"})


@pytest.mark.parametrize(
    "bad",
    [
        b"no json\n",
        b"[1]\n",
        b"\xff\xfe\n",
        b"[" * 100_000 + b"\n",
        b'{"id": 1, "text": 5, "now": "2026-01-01T00:00:00", "timezone": "UTC"}\n',
        b'{"id": 1, "text": "hi", "now": "yesterday", "timezone": "UTC"}\n',
        b'{"id": 1, "text": "hi", "now": "2026-01-01T00:00:00", "timezone": "UTC", "state": []}\n',
        b'{"id": 1, "text": "hi", "now": "2026-01-01T00:00:00", "timezone": "UTC", "state": {"history": {"a": 1}}}\n',
        b'{"id": 1, "text": "' + b"x" * (2 * LINE_BYTES_MAX) + b'"}\n',
    ],
    ids=["words", "list", "not utf-8", "deep", "text", "now", "state", "history", "long"],
)
def test_a_bad_line_is_answered_and_the_next_one_read(bad: bytes) -> None:
    first, second = talk(bad + line("next", "hello"))
    assert "error" in first
    assert "action" not in first
    assert second == {"id": "next", "action": "smalltalk", "params": {}, "confidence": 0.95}


def test_the_locale_does_not_matter() -> None:
    [answer] = talk(line("é", "remind me at 5pm to feed Zoë"), LC_ALL="C", LANG="C", PYTHONUTF8="0")
    assert (answer["id"], answer["params"]["content"]) == ("é", "feed Zoë")


def test_each_answer_comes_before_the_next_question() -> None:
    with subprocess.Popen(COMMANDS[0], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(3):
            process.stdin.write(line(number, "hello"))
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["id"] == number
        process.stdin.close()
        assert process.wait(timeout=10) == 0


def test_it_imports_lightly() -> None:
    heavy = ("sqlalchemy", "httpx", "aiohttp", "asyncpg", "redis", "core.messages", "core.settings")
    code = f"import sys, core.brain.parse_lines; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, timeout=60, check=True)
    assert done.stdout.strip() == b"[]"


def test_a_usual_message_takes_under_a_millisecond() -> None:
    lines = [
        line(1, text)
        for text in ("remind me to call Asha tomorrow at 9", "hali ya hewa Kisumu kesho", "convert 100 USD to KES")
    ]
    costs = []
    for _ in range(20):
        start = time.process_time()
        for _ in range(10):
            for each in lines:
                answer(each)
        costs.append((time.process_time() - start) / 30)
    assert min(costs) < 0.001
