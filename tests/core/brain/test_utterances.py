"""The lines the classifier of the local brain learns from."""

from collections import Counter
from pathlib import Path

import pytest

from connectors import CONNECTORS
from core.brain import words

FOLDER = Path(words.__file__).parent / "utterances"
FILES = sorted(FOLDER.glob("*.txt"))

LINES_MIN = 90
LINE_CHARS_MAX = 300

AHEAD = frozenset(
    {
        "help", "smalltalk", "none", "undo",
        "search_info", "search_gif", "find_jobs", "snooze_reminder", "search_notes", "create_note",
        "post_social", "my_receipts",
        "search_flights", "search_hotels", "search_buses", "search_transfers", "search_events",
        "create_itinerary", "view_itinerary", "add_to_itinerary", "remove_from_itinerary", "share_itinerary",
        "check_availability", "schedule_meeting", "send_email", "send_whatsapp",
        "check_balance", "list_transactions", "check_payments", "check_invoice_status",
        "create_invoice", "create_payment_link",
        "top_up", "send_money", "withdraw", "open_dispute",
        "create_workflow", "list_workflows", "run_workflow",
        "pause_workflow", "resume_workflow", "approve_step", "reject_step",
    }
)  # fmt: skip
"""What lines are written for besides the catalog's actions: what is said to us anyway, and actions still to come."""


def lines_of(file: Path) -> list[str]:
    """Its messages, as the classifier takes them: casefolded, without the comments."""
    text = file.read_bytes().decode()
    return [line.casefold().strip() for line in text.splitlines() if not line.startswith("#")]


def test_there_are_files() -> None:
    assert FILES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_holds_lines_enough_for_a_known_action(file: Path) -> None:
    known = AHEAD | {one.name for connector in CONNECTORS for one in connector.actions}
    assert file.stem in known

    lines = lines_of(file)
    assert len(lines) >= LINES_MIN
    assert all(lines), "a blank line"
    assert max(map(len, lines)) <= LINE_CHARS_MAX


def test_no_line_is_written_twice() -> None:
    written = Counter(line for file in FILES for line in lines_of(file))
    assert [line for line, times in written.items() if times > 1] == []
