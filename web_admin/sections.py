"""The sections of the admin: where each begins, what it is called, and what the addresses below it name."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the admin; `icon` is that of one that stands in the rail, and what its pages say that they are in."""

    path: str
    title: str
    thing: str = "page"
    icon: str = ""
    called: str = ""
    """Behind "the", where that is not its title."""

    @property
    def way(self) -> tuple[str, str]:
        """Its address, and what a link there says."""
        return self.path, f"Go to the {self.called or self.title.lower()}"


SECTIONS: Final = (
    Section("/admin/", "Overview", icon="overview"),
    Section("/admin/conversations", "Conversations", "conversation", "conversations"),
    Section("/admin/people", "People", "person", "people"),
    Section("/admin/turns", "Turns", "turn", "turns"),
    Section("/admin/corrections", "Corrections", "correction"),
    Section("/admin/analytics", "Analytics", icon="analytics"),
    Section("/admin/replies", "Replies", "reply", "replies", "canned replies"),
    Section("/admin/payments", "Payments", "payment or finding", "payments"),
    Section("/admin/disputes", "Disputes", "dispute"),
    Section("/admin/invoices", "Invoices", "invoice"),
    Section("/admin/mandates", "Mandates", "mandate"),
    Section("/admin/books", "Books", "account, entry or adjustment"),
    Section("/admin/books/adjustments", "Adjustments", "adjustment"),
    Section("/admin/fees", "Fees"),
    Section("/admin/moderation", "Moderation", "entry", "moderation", "moderation queue"),
    Section("/admin/widget", "Widget", "site", "widget"),
)
"""In the order of the rail."""


def section_of(path: str) -> Section:
    """The innermost section that an address is in; what is in no other is the overview's."""
    within = [one for one in SECTIONS[1:] if path == one.path or path.startswith(f"{one.path}/")]
    return max(within, key=lambda one: len(one.path), default=SECTIONS[0])
