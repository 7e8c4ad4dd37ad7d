"""`python3 -m bot explain`: what is told is what the brain did, and what cannot be explained is said in a sentence."""

import argparse
import json
import subprocess
import sys
from typing import Any

import pytest

from bot.cli import main
from bot.explain import explanation, question
from core.db import Database
from core.messages import TEXT_CHARS_MAX
from tests.core.speaking import WEB, at, mathia
from tests.skills import needs

pytestmark = needs("weather", "reminders", "erasure")

NOW = "2026-11-24T10:15:00"
ASKED = json.dumps({"action": "get_weather", "params": {"date": "2026-11-25"}, "asked": ["city"]})


def explained(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["explain", "--zone", "Nairobi", "--now", NOW, "--json", *words]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def test_a_request_is_told_from_its_words_to_the_move(capsys: pytest.CaptureFixture[str]) -> None:
    told = explained(capsys, "please  remind me tomorrow at 9 to call 0712345678 about KES 2,500")
    assert (told["text"], told["zone"]) == (
        "please remind me tomorrow at 9 to call 0712345678 about KES 2,500",
        "Africa/Nairobi",
    )
    first, *others = told["rules"]
    assert first == {"action": "set_reminder", "words": "please remind me", "at": [0, 16], "stopped_by": None}
    assert all(other["stopped_by"] for other in others)
    assert told["guesses"][0]["action"] == "set_reminder"
    assert {"please remind", "at <number>"} <= {weight["feature"] for weight in told["weights"]}
    read = {(span["kind"], span["words"]): (told["text"][slice(*span["at"])], span["value"]) for span in told["spans"]}
    assert read["when", "tomorrow at 9"] == ("tomorrow at 9", "2026-11-25T09:00")
    assert read["phone number", "0712345678"] == ("0712345678", "0712345678")
    assert read["number", "2,500"] == ("2,500", "2500")
    assert read["currency", "KES"] == ("KES", "KES")
    assert told["understood"]["slots"] == {"time": "2026-11-25T09:00", "content": "call 0712345678 about KES 2,500"}
    assert told["move"]["kind"] == "run"
    assert told["move"]["params"]["content"] == "call 0712345678 about KES 2,500"
    assert list(told["state"]["after"]["history"]) == ["set_reminder"]


def test_an_answer_is_understood_by_the_state_it_is_given_in(capsys: pytest.CaptureFixture[str]) -> None:
    told = explained(capsys, "kisumo", "--state", ASKED)
    assert told["state"]["before"]["asked"] == ["city"]
    assert told["understood"]["by"] == "answer"
    assert told["move"]["kind"] == "run"
    assert (told["move"]["params"]["city"], told["move"]["params"]["date"]) == ("Kisumu", "2026-11-25")


@pytest.mark.parametrize(
    ("text", "kind", "action", "by"),
    [
        ("weather", "ask", "get_weather", "rule"),
        ("nitumie 2k kwa Asha", "not_here", "send_money", "guess"),
        ("erase my data", "confirm", "erase_my_data", "rule"),
        ("msaada", "help", None, "words"),
        ("habari yako", "chat", None, "words"),
        ("kettle purple seventeen", "not_understood", None, "guess"),
        ("ping me about the rent on friday", "did_you_mean", "set_reminder", "guess"),
    ],
)
def test_the_move_is_the_brains(
    capsys: pytest.CaptureFixture[str], text: str, kind: str, action: str | None, by: str
) -> None:
    told = explained(capsys, text)
    assert (told["move"]["kind"], told["move"]["action"], told["understood"]["by"]) == (kind, action, by)
    if kind == "ask":
        assert (told["move"]["says"], told["state"]["after"]["asked"]) == ("Which city?", ["city"])


def test_a_terminal_shows_every_part_in_short_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "remind me tomorrow\nto call Asha " + "and then some more " * 100]) == 0
    shown = capsys.readouterr().out.splitlines()
    labels = [
        "text",
        "rules",
        "gates",
        "guesses",
        "weights",
        "spans",
        "understood",
        "state before",
        "state after",
        "move",
    ]
    assert [line[:12].strip() for line in shown if line[:12].strip()] == labels
    assert max(map(len, shown[1:])) < 200


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([""], "no message"),
        ([" \n"], "no message"),
        (["x" * 100_000], f"{TEXT_CHARS_MAX:,} characters"),
        (["caf\udce9"], "not UTF-8"),
        (["hello", "--zone", "Atlantis"], "no time zone “Atlantis”"),
        (["hello", "--zone", ""], "no time zone"),
        (["hello", "--now", "yesterday"], "ISO 8601"),
        (["hello", "--now", "0001-01-01T00:00:00"], "ISO 8601"),
        (["hello", "--state", "{"], "JSON"),
        (["hello", "--state", "[1]"], "null or an object"),
    ],
)
def test_what_cannot_be_explained_is_said_in_a_sentence(
    capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    assert main(["explain", *words]) == 2
    told = capsys.readouterr()
    assert not told.out
    assert says in told.err
    assert len(told.err) < 200


@pytest.mark.parametrize(
    ("raw", "says"), [(b"caf\xe9", "not UTF-8"), (b"x" * 100_000, "characters")], ids=["not utf-8", "long"]
)
def test_a_message_on_standard_input_is_held_to_the_same(raw: bytes, says: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bot", "explain", "-"], input=raw, capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert says in done.stderr.decode()


async def test_what_is_told_is_what_a_turn_does(db: Database, valkey_url: str) -> None:
    texts = (
        "my reminders", "remind me tomorrow at 9 to rest", "weather", "erase my data", "help", "habari",
        "kettle purple seventeen", "send 500 to Otieno", "ping me about the rent on friday",
    )  # fmt: skip
    done = {"run": "ran", "ask": "asked"}
    async with mathia(db, valkey_url) as bot:
        for text in texts:
            asked = question(argparse.Namespace(text=text, zone=None, now=None, state=None, language=None))
            told = await explanation(asked)
            await bot.hear(at(WEB, text), text)
            kept = await db.pool.fetchval("SELECT intent -> 'messages' -> 0 FROM turn ORDER BY id DESC LIMIT 1")
            move, understood = told["move"], told["understood"]
            assert kept["answer"] == done.get(move["kind"], move["kind"]), text
            assert kept.get("guess", kept["action"]) == (understood["action"] or "none"), text
            assert kept.get("confidence", understood["confidence"]) == understood["confidence"], text
