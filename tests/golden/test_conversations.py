"""Every script in `scripts/`, word for word on every channel it names.

All are played at once to one deployment, before the first of these tests. MATHIA_RENEW=1 writes what was really
answered into the scripts instead: read the diff, line by line, before it is committed.
"""

import asyncio
import difflib
import os
from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from bot.servers import Servers
from tests.golden.played import Play, play_all
from tests.golden.script import CHANNELS, Script, read, shown, written
from tests.skills import WHOLE, needs

pytestmark = needs(*WHOLE)

SCRIPTS = {path.stem: path for path in sorted(Path(__file__).with_name("scripts").glob("*.txt"))}
RENEWED = os.environ.get("MATHIA_RENEW") == "1"
PLAYS = [(name, channel) for name, path in SCRIPTS.items() for channel in read(path).on]
SCRIPTS_MIN, EVERYWHERE_SHARE, STEPS = 60, 1 / 3, range(3, 13)


@pytest.fixture(scope="module")
def held(
    request: pytest.FixtureRequest, servers: Servers, scratch: Path
) -> tuple[dict[Play, Script | BaseException], date]:
    """The conversations that these tests are about, held."""
    asked = [getattr(item, "callspec", None) for item in request.session.items if item.path == Path(__file__)]
    wanted = {(one.params["name"], one.params["channel"]) for one in asked if one is not None}
    plays = [(read(SCRIPTS[name]), channel) for name, channel in PLAYS if (name, channel) in wanted]
    folder = scratch / "golden"
    folder.mkdir(exist_ok=True)
    return asyncio.run(play_all(plays, servers, folder))


@pytest.mark.parametrize(("name", "channel"), PLAYS)
def test_a_conversation_goes_as_it_is_written(
    held: tuple[dict[Play, Script | BaseException], date], name: str, channel: str
) -> None:
    played, today = held
    outcome = played[name, channel]
    if isinstance(outcome, BaseException):
        raise outcome
    script = read(SCRIPTS[name])
    went = as_written(script, outcome, today)
    if RENEWED and channel == script.on[0]:
        SCRIPTS[name].write_text(written(went), encoding="utf-8")
        return
    assert went == script, "\n" + difference(script, went, channel)


def as_written(script: Script, went: Script, today: date) -> Script:
    """What was said, in the script's own words where those fit."""
    steps = [
        replace(now, answers=tuple(shown(before.answers, now.answers, today)))
        for before, now in zip(script.steps, went.steps, strict=True)
    ]
    return replace(went, steps=tuple(steps))


def difference(script: Script, went: Script, channel: str) -> str:
    """Where a conversation went another way, as the lines of its script."""
    lines = difflib.unified_diff(
        written(script).splitlines(), written(went).splitlines(), f"{script.name}.txt", f"as it went on {channel}",
        lineterm="", n=4,
    )  # fmt: skip
    return "\n".join([*lines, "", "MATHIA_RENEW=1 writes it down, if that is how it should be."])


def test_there_are_many_conversations_on_every_channel() -> None:
    scripts = [read(path) for path in SCRIPTS.values()]
    assert len(scripts) >= SCRIPTS_MIN
    assert all(len(script.steps) in STEPS for script in scripts), [s.name for s in scripts if len(s.steps) not in STEPS]
    assert sum(len(script.on) >= 3 for script in scripts) >= EVERYWHERE_SHARE * len(scripts)
    counts = Counter(channel for script in scripts for channel in script.on)
    assert min(counts[channel] for channel in CHANNELS) >= max(counts.values()) / 2, counts


def test_a_script_is_written_as_it_is_read(tmp_path: Path) -> None:
    for path in SCRIPTS.values():
        copy = tmp_path / path.name
        copy.write_text(written(read(path)), encoding="utf-8")
        assert read(copy) == read(path)
