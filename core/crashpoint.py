"""Named places where a process may die or stall, so that tests can make it happen exactly there.

`MATHIA_CRASH=name:nth` ends the process (as kill -9 would) at the nth pass of that point; `name:nth:stall` sleeps
STALL_S there instead, then goes on. Unset, which is always so in production, `hit` does nothing.
"""

import os
import time
from functools import cache

STALL_S = 3.0
POINTS = (
    "inbox.before_commit",
    "inbox.committed",
    "inbox.acknowledged",
    "turn.claimed",
    "turn.action_started",
    "turn.action_ran",
    "turn.answered",
    "turn.before_commit",
    "turn.committed",
    "outbox.sending",
    "outbox.accepted",
    "outbox.before_commit",
    "outbox.committed",
    "upload.taken",
    "reminders.claimed",
    "reminders.before_commit",
    "reminders.committed",
    "workflow.step_started",
    "workflow.step_ran",
    "payment.initiating",
    "payment.initiated",
    "payment.approving",
    "payment.approved",
    "export.packing",
    "export.kept",
    "erasure.before_commit",
    "erasure.committed",
    "erasure.removed",
    "erasure.told",
)
"""Every point, in the order a message passes them. A point is added here and hit in one place."""

_passed = 0


@cache
def _plan() -> tuple[str, int, bool] | None:
    raw = os.environ.get("MATHIA_CRASH", "")
    if not raw:
        return None
    name, _, rest = raw.partition(":")
    nth, _, how = rest.partition(":")
    if name not in POINTS or not nth.isdigit() or how not in ("", "stall"):
        raise SystemExit(f"MATHIA_CRASH={raw!r}: want name:nth or name:nth:stall, with a name of {', '.join(POINTS)}")
    return name, int(nth), how == "stall"


def hit(name: str) -> None:
    """Pass the point `name`; only here can a planned crash or stall happen."""
    plan = _plan()
    if plan is None or plan[0] != name:
        return
    global _passed
    _passed += 1
    if _passed != plan[1]:
        return
    if plan[2]:
        time.sleep(STALL_S)
    else:
        os._exit(9)
