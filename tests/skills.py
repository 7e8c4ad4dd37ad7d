"""Tests that talk about what a connector does: where it was removed, with its own tests, they are skipped."""

import pytest

from connectors import CONNECTORS

WHOLE = (
    "weather", "currency", "reminders", "contacts", "memory", "profile", "account", "handoff", "quotas", "documents",
    "export", "erasure", "wallet",
)  # fmt: skip
"""What conversations with the whole of Mathia are about."""


def missing(*names: str) -> str:
    """Why a test about these connectors cannot be; empty where all are there."""
    there = {connector.name for connector in CONNECTORS}
    gone = [name for name in names if name not in there]
    return f"there is no connector {', '.join(gone)}" if gone else ""


def needs(*names: str) -> pytest.MarkDecorator:
    """Marks tests that are about these connectors, of which any may be removed."""
    return pytest.mark.skipif(bool(missing(*names)), reason=missing(*names))
