"""Payments and invoices for several people in one message: each is one of its own, and none is lost."""

import pytest

from connectors import CONNECTORS
from core.brain.rules import RuleBrain
from core.catalog import Catalog
from core.dialog import DialogState, Intent, Plan
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
        ("send 500 each to Asha and Brian", [("500", "Asha"), ("500", "Brian")]),
        ("send 500 each to asha, brian and carol", [("500", "asha"), ("500", "brian"), ("500", "carol")]),
        ("tuma 500 kila mmoja kwa Asha na Brian", [("500", "Asha"), ("500", "Brian")]),
        ("send 300 each to 0712345678 and 0722000111", [("300", "0712345678"), ("300", "0722000111")]),
        ("send 500 to Asha and Brian", [("500", "Asha and Brian")]),
        ("send 500 to Asha and her sister", [("500", "Asha and her sister")]),
        ("tuma 500 kwa Asha na dada yake", [("500", "Asha and dada")]),
        ("send 500 to Asha, urgent", [("500", "Asha")]),
        ("send 500 to Asha and I will pay you back", [("500", "Asha")]),
        ("send 500 to Brian, please", [("500", "Brian")]),
        ("send 500 to Asha, she needs it", [("500", "Asha")]),
        ("pay asha and brian 500", [("500", "asha and brian")]),
        ("tuma 500 kwa asha na brian", [("500", "asha and brian")]),
        ("send 500 to asha and brian and carol for lunch", [("500", "asha and brian and carol")]),
        ("send 500 to 0712345678 and 0722000111", [("500", "0712345678 and 0722000111")]),
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


@pytest.mark.parametrize("text", ["send 500", "nataka kutuma 500", "tuma KES 500", "I want to send 500 bob please"])
async def test_a_sum_alone_is_a_payment_to_somebody_still_to_be_named(catalog: Catalog, text: str) -> None:
    thought = await RuleBrain(catalog).think(turn(text), catalog.offered)
    assert isinstance(thought, Intent)
    assert (thought.action, thought.slots["amount"], thought.guessed) == ("send_money", "500", False)
    assert "recipient" not in thought.slots


@pytest.mark.parametrize(
    ("text", "payer", "what"),
    [
        ("create an invoice for Achieng", "Achieng", None),
        ("create an invoice for Achieng 5000", "Achieng", None),
        ("create an invoice for Achieng Otieno 5000 for the logo", "Achieng Otieno", "logo"),
        ("create an invoice for 5000 for Achieng", "Achieng", None),
        ("create an invoice for Website redesign 20000 to Achieng", "Achieng", "Website redesign 20000"),
        ("create an invoice for design work", None, "design work"),
        ("tengeneza invoice ya Achieng", "Achieng", None),
        ("tengeneza ankara ya Achieng", "Achieng", None),
        ("tengeneza ankara ya kazi ya ubunifu", None, "ubunifu"),
    ],
)
async def test_a_name_behind_for_pays_the_invoice(
    catalog: Catalog, text: str, payer: str | None, what: str | None
) -> None:
    thought = await RuleBrain(catalog).think(turn(text), catalog.offered)
    assert isinstance(thought, Intent)
    assert thought.action == "create_invoice"
    assert (thought.slots.get("payer_name"), thought.slots.get("description")) == (payer, what)


@pytest.mark.parametrize("text", ["kila mmoja", "wote", "each", "both of them"])
async def test_each_is_nobodys_name(catalog: Catalog, text: str) -> None:
    asked = DialogState("send_money", {"amount": "500"}, asked=("recipient",))
    thought = await RuleBrain(catalog).think(turn(text, state=asked), catalog.offered)
    assert not isinstance(thought, Intent) or "recipient" not in thought.slots
