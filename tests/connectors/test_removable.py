"""A connector is removed by its file and its line: what it did is said not to be here, and nothing else changes."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import connectors
from connectors import CONNECTORS
from core.actions import Connector
from core.brain import classify
from core.brain.commands import menu
from core.brain.gates import RULES
from core.brain.not_here import ACTIONS
from core.brain.replies import Told
from core.brain.rules import RuleBrain
from core.catalog import Catalog
from core.codes import code_in
from core.db import Database
from core.dialog import Intent
from core.messages import Choices, text_of
from core.settings import Settings
from tests.core.brain.speaking import NAIROBI
from tests.core.brain.test_rules import turn
from tests.core.speaking import WEB, at, mathia

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(connectors.__file__).parent
NAMES = [connector.name for connector in CONNECTORS]
SUGGESTED = re.compile(r"“([^”{}]{2,80})”")


def without(name: str) -> tuple[Catalog, RuleBrain]:
    """A deployment that lacks a connector."""
    catalog = Catalog([one for one in CONNECTORS if one.name != name], Settings.model_validate({}))
    return catalog, RuleBrain(catalog, NAIROBI)


def of(name: str) -> Connector:
    return next(one for one in CONNECTORS if one.name == name)


def test_whatever_can_be_understood_can_be_said_not_to_be_here() -> None:
    known = {rule.action for rule in RULES} | set(classify.model().classes)
    known |= {action.name for connector in CONNECTORS for action in connector.actions}
    assert known - {"help", "smalltalk", "none"} == set(ACTIONS)


@pytest.mark.parametrize("name", NAMES)
async def test_without_a_connector_its_requests_are_said_not_to_be_here(name: str) -> None:
    catalog, brain = without(name)
    for action in of(name).actions:
        # A code is typed, and asks for nothing by its words.
        for example in (one for one in action.examples if code_in(one) is None):
            thought = await brain.think(turn(example), catalog.offered)
            assert isinstance(thought, Told), example
            assert (thought.why, thought.action) == ("not_here", action.name), example


@pytest.mark.parametrize("name", NAMES)
async def test_without_a_connector_nothing_proposes_what_it_did(name: str) -> None:
    catalog, brain = without(name)
    gone = {action.name for action in of(name).actions}
    examples = {example for action in of(name).actions for example in action.examples}
    shown = [*menu(catalog.offered, "en"), *menu(catalog.offered, "sw")]
    assert not {command for command, _ in shown} & gone
    for text in ("help", "msaada", "hello", "habari", "kettle purple seventeen", "yes", "fly me to Kisumu"):
        thought = await brain.think(turn(text), catalog.offered)
        assert isinstance(thought, Told)
        said = text_of(thought.parts)
        offered = [option for part in thought.parts if isinstance(part, Choices) for option in part.options]
        assert offered
        for option in (*offered, *(line for line in SUGGESTED.findall(said))):
            assert option not in examples, text
            meant = await brain.think(turn(option), catalog.offered)
            assert isinstance(meant, Intent) or (isinstance(meant, Told) and meant.why == "help"), option
    titles = {one.title.to(language) for one in catalog.on for language in ("en", "sw")}
    for language, text in (("en", "help"), ("sw", "msaada")):
        if (title := of(name).title.to(language)) not in titles:
            thought = await brain.think(turn(text), catalog.offered)
            assert isinstance(thought, Told)
            assert title not in text_of(thought.parts)


@pytest.mark.parametrize("name", NAMES)
async def test_without_a_connector_everything_else_is_understood_as_before(name: str) -> None:
    catalog, brain = without(name)
    whole = Catalog(CONNECTORS, Settings.model_validate({}))
    other = RuleBrain(whole, NAIROBI)
    for action in catalog.offered:
        for example in action.examples:
            thought = await brain.think(turn(example), catalog.offered)
            assert thought == await other.think(turn(example), whole.offered), example


TALK = (
    "call me Asha", "my goal is to save 10,000 a month", "save Juma's number 0712 345 678", "my e-mail is a@b.example",
    "remind me tomorrow at 9 to rest", "my reminders", "forget my name", "forget Juma", "forget Juma", "forget my goal",
    "my contacts", "link my account", "what do you know about me?", "my quotas", "forget everything you know about me",
    "erase my data", "unajua nini kuhusu mimi?",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
async def test_without_a_connector_no_other_one_tells_of_it(name: str, db: Database, valkey_url: str) -> None:
    rest = [one for one in CONNECTORS if one.name != name]
    gone = {action.name for action in of(name).actions}
    asha = at(WEB, "asha")
    async with mathia(db, valkey_url, connectors=rest) as bot:
        for line in TALK:
            for suggested in SUGGESTED.findall(await bot.hear(asha, line)):
                said = turn(suggested.replace("…", "Nairobi"))
                thought = await bot.deps.brain.think(said, bot.deps.catalog.offered)
                assert getattr(thought, "action", None) not in gone, f"{line}: {suggested}"


SCRIPT = """
import asyncio
import bot.app, bot.runners, bot.wiring, jobs.sweeps, jobs.temporal, jobs.worker, web_admin.app
from bot.cli import main
from connectors import CONNECTORS
from core.brain.rules import RuleBrain
from core.catalog import Catalog
from core.settings import Settings
from tests.core.brain.test_rules import turn

async def talk():
    catalog = Catalog(CONNECTORS, Settings.model_validate({}))
    brain = RuleBrain(catalog)
    for text in ("weather in Kisumu", "remind me tomorrow at 9 to call Asha", "convert 100 USD to KES"):
        thought = await brain.think(turn(text), catalog.offered)
        print(getattr(thought, "why", "run"), thought.action)

asyncio.run(talk())
raise SystemExit(main(["docs"]))
"""


@pytest.mark.skipif("reminders" not in NAMES, reason="there is no connector reminders")
def test_a_tree_without_the_file_and_its_line_works(tmp_path: Path) -> None:
    kept = shutil.ignore_patterns("__pycache__", ".*", "recordings", "scripts")
    for folder in ("alembic", "bot", "channels", "connectors", "core", "docs", "jobs", "ledger", "tests", "web_admin"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=kept)
    (tmp_path / "connectors" / "reminders.py").unlink()
    listed = tmp_path / "connectors" / "__init__.py"
    text = listed.read_text(encoding="utf-8")
    listed.write_text(re.sub(r"    reminders,\n|reminders\.connector, ?", "", text), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    there = set(NAMES) - {"reminders"}
    asked = (("weather", "get_weather"), ("reminders", "set_reminder"), ("currency", "convert_currency"))
    assert done.stdout.splitlines() == [
        f"{'run' if connector in there else 'not_here'} {action}" for connector, action in asked
    ]
    actions = (tmp_path / "docs" / "actions.md").read_text(encoding="utf-8")
    assert "`set_reminder`" not in actions
