"""Payments and invoices for several people in one message: each is one of its own, and none is lost."""

import pytest

from connectors import CONNECTORS
from core.brain.rules import RuleBrain
from core.catalog import Catalog
from core.dialog import Intent, Plan
from core.settings import Settings
from tests.core.brain.test_rules import turn
from tests.skills import needs

pytestmark = needs("wallet", "invoices")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    keys = {"intasend_publishable_key": "ISPubKey_test", "intasend_secret_key": "ISSecretKey_test"}
    return Catalog(CONNECTORS, Settings.model_validate(keys), confirms=True)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("send 500 to Asha and 300 to Brian", [("500", "Asha"), ("300", "Brian")]),
        ("send 500 to Asha, 300 to Brian and 200 to Carol", [("500", "Asha"), ("300", "Brian"), ("200", "Carol")]),
        ("send 200 to 0712345678 and 100 to 0722000111", [("200", "0712345678"), ("100", "0722000111")]),
        ("tuma 200 kwa 0712345678 na 100 kwa 0722000111", [("200", "0712345678"), ("100", "0722000111")]),
        ("invoice Achieng 500 for logos and Brian 300 for cards", [("500", "Achieng"), ("300", "Brian")]),
        ("invoice Achieng 500 for logos and cards", [("500", "Achieng")]),
        ("invoice Achieng 500 for 3 logos and 2 cards", [("500", "Achieng")]),
        ("invoice Achieng KES 500 for logos, due on 29 November 2026", [("500", "Achieng")]),
    ],
)
async def test_everybody_gets_their_own(catalog: Catalog, text: str, wanted: list[tuple[str, str]]) -> None:
    thought = await RuleBrain(catalog).think(turn(text), catalog.offered)
    steps = thought.steps if isinstance(thought, Plan) else (thought,)
    found = []
    for step in steps:
        assert isinstance(step, Intent)
        whom = next(step.slots[slot] for slot in ("recipient", "phone_number", "payer_name") if slot in step.slots)
        found.append((step.slots["amount"], whom))
    assert found == wanted
