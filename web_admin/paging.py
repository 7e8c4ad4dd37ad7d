"""Lists by number, the newest first, a page at a time: where a page begins, and where the one after it does."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from core.errors import UserError
from web_admin.forms import is_number

PAGE = 50
"""Rows on one page; one more is read, to know whether there are older ones."""
NEWEST: Final = 2**63 - 1
"""Before this number is everything."""


def before_of(query: Mapping[str, str]) -> int | None:
    """Before which number the page of an address begins; None for the first page. Raises UserError."""
    written = query.get("before", "")
    if not written:
        return None
    if not is_number(written):
        raise UserError("The place in the list that this address names is not whole. Open the list from its start.")
    return int(written)


def paged(rows: Sequence[Any], by: str = "id") -> tuple[Sequence[Any], int | None]:
    """Of PAGE + 1 rows those of one page, and before which number the next begins; None where there is none."""
    return rows[:PAGE], rows[PAGE - 1][by] if len(rows) > PAGE else None
