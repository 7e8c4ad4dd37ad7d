"""Fault plans: what goes wrong with which request, in which order, how often.

    POST /<provider>/_faults {"plan": ["ok", {"fault": "429", "retry_after": 3}], "match": {"path": "sendMessage"},
                              "times": 5, "seed": 7}

The plan is walked entry by entry, or drawn from at random when a seed is given. `times` is how many matching requests
it lasts for: left out, once through the plan; null, until healed. A new plan replaces the old one; an empty plan,
DELETE /<provider>/_faults, or POST /_heal (every provider) ends it, and lets go of everything that hangs.

ok                    answered as always
refuse                reset (RST) as soon as the head of the request is in; the body stays unread. A port that serves
                      many providers cannot refuse one of them earlier
reset_before_read     closed (FIN) without an answer; nothing was executed
reset_after_execute   executed, then reset
hang                  waits `seconds` (40), then executes and answers
execute_then_hang     executes, then waits `seconds` (40) with the answer
429                   the provider's own "too many requests"; `retry_after` seconds (1)
500_not_executed      the provider's own 500
500_executed          the same, but it was executed
200_html              200 with a page of HTML, as a captive portal answers; not executed
200_truncated_json    executed; the JSON of the answer stops half-way
slow_body             executed; the answer drips out over `seconds` (5)
duplicate_webhooks    executed; each webhook that follows is sent `n` (2) times
webhook_before_response  executed; the webhooks that follow come before the answer
webhook_never         executed; no webhook follows

Where money is moved (IntaSend) there are besides:

hang_then_execute     another name for hang
200_wrong_amount      executed; the answer names another amount
reordering            executed; the webhooks that follow come when all is over, the last first
status_query_lies_for executed; for `seconds` (40) whoever asks about it is told that it failed

Mail (SMTP) knows ok, hang, 421, 451, 550, drop (mid-DATA) and drop_after_data (accepted, but nobody was told).
What a person sends from the simulated phone can be matched as path /_inbound; there duplicate_webhooks and
webhook_never have a meaning. Only a plan that names that path touches it.
"""

import asyncio
import random
import re
from dataclasses import dataclass

from bot.sandbox.truth import JsonObject

HTTP_FAULTS = frozenset({
    "ok", "refuse", "reset_before_read", "reset_after_execute", "hang", "execute_then_hang", "429", "500_not_executed",
    "500_executed", "200_html", "200_truncated_json", "slow_body", "duplicate_webhooks", "webhook_before_response",
    "webhook_never",
})  # fmt: skip
MONEY_FAULTS = HTTP_FAULTS | {"hang_then_execute", "200_wrong_amount", "reordering", "status_query_lies_for"}
SMTP_FAULTS = frozenset({"ok", "hang", "421", "451", "550", "drop", "drop_after_data"})

PLAN_ENTRIES_MAX = 1_000
TIMES_MAX = 1_000_000
SECONDS_MAX = 120.0
COPIES_MAX = 20
PATTERN_CHARS_MAX = 500
HANG_S = 40.0
SLOW_BODY_S = 5.0


@dataclass(frozen=True, slots=True)
class Webhooks:
    """How the webhooks that follow from one call are sent."""

    copies: int = 1
    before_response: bool = False
    reordered: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """One entry of a plan."""

    kind: str
    seconds: float
    retry_after_s: int
    copies: int

    @property
    def webhooks(self) -> Webhooks:
        """What this fault does to the webhooks that follow."""
        match self.kind:
            case "duplicate_webhooks":
                return Webhooks(copies=self.copies)
            case "webhook_never":
                return Webhooks(copies=0)
            case "webhook_before_response":
                return Webhooks(before_response=True)
            case "reordering":
                return Webhooks(reordered=True)
            case _:
                return Webhooks()


class Faults:
    """The fault plan of one provider."""

    def __init__(self, kinds: frozenset[str] = HTTP_FAULTS) -> None:
        self._kinds = kinds
        self._plan: list[Fault] = []
        self._asked: JsonObject | None = None
        self._path: re.Pattern[str] | None = None
        self._body: re.Pattern[str] | None = None
        self._method = ""
        self._left: int | None = 0
        self._next = 0
        self._random: random.Random | None = None
        self._healed = asyncio.Event()

    def set(self, asked: JsonObject) -> None:
        """Take a new plan; ValueError with a sentence when it is not one."""
        unknown = set(asked) - {"plan", "match", "times", "seed"}
        if unknown:
            raise ValueError(f"Unknown field {', '.join(sorted(unknown))}: a plan has plan, match, times and seed.")
        entries = asked.get("plan")
        if not isinstance(entries, list) or len(entries) > PLAN_ENTRIES_MAX:
            raise ValueError(f"plan must be a list of at most {PLAN_ENTRIES_MAX} faults.")
        plan = [self._parse(entry) for entry in entries]
        match = asked.get("match") or {}
        if not isinstance(match, dict) or set(match) - {"path", "method", "body"}:
            raise ValueError("match may hold path and body (regular expressions) and method.")
        path, body = _pattern(match.get("path"), "path"), _pattern(match.get("body"), "body")
        times = asked.get("times", len(plan))
        if times is not None and (not _whole(times) or not 0 <= times <= TIMES_MAX):
            raise ValueError(f"times must be null or a whole number from 0 to {TIMES_MAX}.")
        seed = asked.get("seed")
        if seed is not None and not _whole(seed):
            raise ValueError("seed must be a whole number.")
        self.clear()
        self._plan, self._path, self._body, self._left = plan, path, body, times if plan else 0
        self._method = str(match.get("method") or "").upper()
        self._random = None if seed is None else random.Random(seed)  # noqa: S311  faults are no secrets
        self._asked = asked if plan else None

    def _parse(self, entry: object) -> Fault:
        asked: JsonObject = entry if isinstance(entry, dict) else {"fault": entry}
        kind = str(asked.get("fault"))
        if kind not in self._kinds:
            raise ValueError(f"Unknown fault {kind!r}; there are {', '.join(sorted(self._kinds))}.")
        unknown = set(asked) - {"fault", "seconds", "retry_after", "n"}
        if unknown:
            raise ValueError(f"Unknown field {', '.join(sorted(unknown))}: a fault has fault, seconds, retry_after, n.")
        seconds = asked.get("seconds", SLOW_BODY_S if kind == "slow_body" else HANG_S)
        retry_after, copies = asked.get("retry_after", 1), asked.get("n", 2)
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= SECONDS_MAX:
            raise ValueError(f"seconds must be a number from 0 to {SECONDS_MAX:.0f}.")
        if not _whole(retry_after) or not 0 <= retry_after <= 3600:
            raise ValueError("retry_after must be a whole number of seconds from 0 to 3600.")
        if not _whole(copies) or not 0 <= copies <= COPIES_MAX:
            raise ValueError(f"n must be a whole number from 0 to {COPIES_MAX}.")
        return Fault(kind, float(seconds), retry_after, copies)

    @property
    def needs_body(self) -> bool:
        """Whether a request must be read before `take` can tell."""
        return self._body is not None

    def take(self, method: str, path: str, body: bytes) -> Fault | None:
        """The fault for this request, or None; uses up one of `times`."""
        if not self._plan:
            return None
        if self._left == 0:
            return None
        if self._method and method != self._method:
            return None
        if self._path is None:
            if path.startswith("/_"):
                return None
        elif not self._path.search(path):
            return None
        if self._body is not None and not self._body.search(body.decode("utf-8", "replace")):
            return None
        if self._left is not None:
            self._left -= 1
        fault = self._random.choice(self._plan) if self._random else self._plan[self._next % len(self._plan)]
        self._next += 1
        return None if fault.kind == "ok" else fault

    def clear(self) -> None:
        """End the plan and let go of everything that hangs."""
        self._plan, self._asked, self._left, self._next = [], None, 0, 0
        self._body = None
        self._healed.set()
        self._healed = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Hang for so long, or until healed."""
        try:
            await asyncio.wait_for(self._healed.wait(), seconds)
        except TimeoutError:
            return

    def state(self) -> JsonObject:
        """The plan as it was asked for, and how many matching requests it still lasts for (null: until healed)."""
        return {"plan": self._asked, "left": self._left if self._asked else 0, "met": self._next}


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _pattern(value: object, name: str) -> re.Pattern[str] | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > PATTERN_CHARS_MAX:
        raise ValueError(f"match.{name} must be a regular expression of at most {PATTERN_CHARS_MAX} characters.")
    try:
        return re.compile(value)
    except re.error as error:
        raise ValueError(f"match.{name} is not a regular expression: {error}.") from None
