"""What people say about documents they sent, in English and Swahili."""

import pytest
from pydantic import JsonValue

from core.dialog import DialogState
from tests.core.brain.speaking import acted_on, understood


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("summarise this", {}),
        ("Summarize it please", {}),
        ("summary", {}),
        ("TL;DR", {}),
        ("please summarise the document", {}),
        ("can you summarise the lease for me", {"file": "lease"}),
        ("give me a summary of the report", {"file": "report"}),
        ("summarise Budget-2026.xlsx", {"file": "Budget-2026.xlsx"}),
        ("what is this document about?", {}),
        ("what's in this file?", {}),
        ("fupisha hati hii", {}),
        ("nifupishie mkataba tafadhali", {"file": "mkataba"}),
        ("nipe muhtasari wa faili hii", {}),
        ("muhtasari", {}),
        ("hati hii inahusu nini?", {}),
    ],
)
def test_summary_is_asked_for(text: str, slots: dict[str, JsonValue]) -> None:
    intent = understood(text)
    assert (intent.action, dict(intent.slots)) == ("summarise_document", slots)


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("what does the contract say about rent", {"file": "contract", "question": "rent"}),
        ("What does this document say about the deposit?", {"question": "the deposit"}),
        ("according to the lease, when is the rent due?", {"file": "lease", "question": "when is the rent due"}),
        ("in this pdf, who pays for repairs?", {"question": "who pays for repairs"}),
        ("does the agreement mention pets?", {"file": "agreement", "question": "pets"}),
        ("search the file for Otieno", {"question": "Otieno"}),
        ("what does the file lease.pdf say about notice", {"file": "lease.pdf", "question": "notice"}),
        ("mkataba unasema nini kuhusu kodi", {"file": "mkataba", "question": "kodi"}),
        ("hati hii inasema nini kuhusu malipo?", {"question": "malipo"}),
        ("what does it say about the deposit?", {"question": "the deposit"}),
        ("what does lease.pdf say about notice", {"file": "lease.pdf", "question": "notice"}),
        ("does it mention anything about pets", {"question": "pets"}),
        ("inasema nini kuhusu kodi?", {"question": "kodi"}),
        ("kulingana na mkataba huu, kodi ni ngapi?", {"file": "mkataba", "question": "kodi ni ngapi"}),
    ],
)
def test_document_is_asked(text: str, slots: dict[str, JsonValue]) -> None:
    intent = understood(text)
    assert (intent.action, dict(intent.slots)) == ("ask_document", slots)


def test_answer_to_what_one_wants_to_know_is_the_question() -> None:
    state = DialogState("ask_document", {}, ("question",))
    assert dict(understood("the notice period", state).slots) == {"question": "the notice period"}


@pytest.mark.parametrize(
    "text",
    [
        "remind me to summarise the report tomorrow at 9",
        "what is the weather in Nairobi",
        "I signed the contract yesterday",
        "send the file to Asha",
        "what does it cost",
        "what does it mean",
        "what did they say about me",
        "nikumbushe kufupisha hati hii kesho",
        "create an invoice for 500",
        "how long is the contract",
    ],
)
def test_what_means_something_else_is_not_taken_for_it(text: str) -> None:
    assert acted_on(text) not in ("summarise_document", "ask_document")
