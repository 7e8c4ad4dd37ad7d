"""Standing mandates: what one workflow may pay, to whom, how much and until when, without being confirmed each time.

A mandate rests on one confirmation and no term of it changes; it ends at once when its workflow is changed. PostgreSQL
holds each use against it, under the lock of its row (alembic/versions/0070). Here is asked first, so that whoever is
refused is told why.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from core.errors import LimitReached, UserError
from core.language import Saying
from ledger import mandate_models  # noqa: F401  its tables are among those that are exported and erased
from ledger.money import Money

LISTED_MAX = 50
"""Mandates of a person that are shown, newest first."""

NONE = Saying("This workflow has no standing mandate.", "Kazi hii haina idhini ya kudumu.")
OVER = Saying("Its standing mandate is over.", "Idhini yake ya kudumu imekwisha.")
EARLIER = Saying(
    "The workflow was changed since this run began, so the run pays nothing.",
    "Kazi hii imebadilishwa tangu ilipoanza kuendeshwa, kwa hiyo hailipi chochote.",
)
PAUSED = Saying("The workflow is paused, so it pays nothing.", "Kazi hii imesimamishwa, kwa hiyo hailipi chochote.")
PAYEE = Saying("Its standing mandate does not name whom it would pay.", "Idhini yake ya kudumu haimtaji anayelipwa.")
EACH = Saying(
    "Its standing mandate allows at most {at_most} each time, and this is {amount} with the fee.",
    "Idhini yake ya kudumu inaruhusu hadi {at_most} kila mara, na hii ni {amount} pamoja na ada.",
)
DAY = Saying(
    "Its standing mandate allows at most {at_most} a day, and {left} of that is left today.",
    "Idhini yake ya kudumu inaruhusu hadi {at_most} kwa siku, na leo zimebaki {left}.",
)
TOTAL = Saying(
    "Its standing mandate allows at most {at_most} in all, and {left} of that is left.",
    "Idhini yake ya kudumu inaruhusu hadi {at_most} kwa jumla, na zimebaki {left}.",
)

_READ = """
SELECT m.id, m.confirmation_id, m.definition_id, m.version, m.payees, m.currency, m.max_each, m.max_per_day,
       m.max_total, m.zone, m.until, m.spent, m.created_at, m.ended_at, clock_timestamp() >= m.until AS is_late,
       (SELECT coalesce(sum(u.amount), 0)::bigint FROM mandate_use u WHERE u.mandate_id = m.id
        AND u.at >= date_trunc('day', clock_timestamp() AT TIME ZONE m.zone) AT TIME ZONE m.zone) AS today
FROM mandate m
"""
BY_ID = f"{_READ} WHERE m.id = $1"
LIVE = f"{_READ} WHERE m.definition_id = $1 AND m.ended_at IS NULL AND clock_timestamp() < m.until"
OF_PERSON = f"""
{_READ} JOIN workflow_definition d ON d.id = m.definition_id
WHERE d.person_id = $1 AND m.id < $2 ORDER BY m.id DESC LIMIT $3
"""
LISTED = f"{_READ} WHERE m.id < $1 ORDER BY m.id DESC LIMIT $2"
END_THIS = """
UPDATE mandate SET ended_at = clock_timestamp()
WHERE id = $1 AND ended_at IS NULL AND clock_timestamp() < until RETURNING id
"""
USES = "SELECT at, workflow_id, amount FROM mandate_use WHERE mandate_id = $1 ORDER BY at, key"
RUN = """
SELECT d.id, d.state, d.version, r.version AS began_with
FROM workflow_run r JOIN workflow_definition d ON d.id = r.definition_id WHERE r.workflow_id = $1 FOR SHARE OF d
"""
HOLD = "SELECT FROM workflow_definition WHERE id = $1 FOR SHARE"
LOCK = "SELECT id FROM mandate WHERE definition_id = $1 AND ended_at IS NULL FOR NO KEY UPDATE"
GRANT = """
INSERT INTO mandate (confirmation_id, definition_id, version, payees, currency, max_each, max_per_day, max_total, zone,
                     until)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING id
"""
CONFIRMED = "SELECT id FROM mandate WHERE confirmation_id = $1"
END = "UPDATE mandate SET ended_at = clock_timestamp() WHERE definition_id = $1 AND ended_at IS NULL RETURNING id"
USE = "INSERT INTO mandate_use (key, mandate_id, workflow_id, payee, amount) VALUES ($1, $2, $3, $4, $5)"
USED = "SELECT key, mandate_id, payee, amount FROM mandate_use WHERE key = $1"


class NoMandate(UserError):
    """There is no mandate that the payment could rest on: none was granted, or it is over."""


class OutsideMandate(LimitReached):
    """The payment is not what the mandate allows; what it says names the term."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Whom a workflow may pay (keyed hashes), at most how much by one payment, within a day and in all, until when.

    Fees count. A day begins at midnight of `zone`.
    """

    payees: tuple[bytes, ...]
    each: Money
    day: Money
    total: Money
    zone: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Mandate:
    """One mandate as it stands: the confirmation it rests on, the version of the workflow it is of, what is left."""

    id: int
    confirmation_id: UUID
    definition_id: UUID
    version: int
    terms: Terms
    spent: Money
    today: Money
    created_at: datetime
    ended_at: datetime | None
    is_late: bool
    """Whether `until` is past."""

    @property
    def is_live(self) -> bool:
        """Whether something can be paid under it."""
        return self.ended_at is None and not self.is_late

    @property
    def left(self) -> Money:
        """What can still be paid under it in all."""
        return self.terms.total - self.spent

    def check(self, payee: bytes, amount: Money) -> None:
        """Raises NoMandate and OutsideMandate for a payment of `amount`, with its fee, that it does not allow."""
        if not self.is_live:
            raise NoMandate(OVER)
        if payee not in self.terms.payees:
            raise OutsideMandate(PAYEE)
        if amount > self.terms.each:
            raise OutsideMandate(EACH.filled(at_most=self.terms.each.said(), amount=amount.said()))
        if self.today + amount > self.terms.day:
            left = self.terms.day - self.today
            raise OutsideMandate(DAY.filled(at_most=self.terms.day.said(), left=left.said()))
        if amount > self.left:
            raise OutsideMandate(TOTAL.filled(at_most=self.terms.total.said(), left=self.left.said()))


@dataclass(frozen=True, slots=True)
class Use:
    """A payment under a mandate, with its fee; `payee` is the keyed hash."""

    mandate_id: int
    payee: bytes
    amount: Money


def refused_key(key: str) -> str:
    """The key of the message that tells what was not paid under a key."""
    return f"mandate:{key}:refused"


async def grant(connection: Any, confirmation_id: UUID, definition_id: UUID, version: int, terms: Terms) -> Mandate:
    """Let this version of a workflow pay within the terms, in the caller's transaction; what it had before ends.

    The same confirmation again is the same mandate.
    The confirmation has to be used, of granting a mandate, and by the person whose workflow it is: PostgreSQL refuses
    anything else.
    """
    made = await connection.fetchval(CONFIRMED, confirmation_id)
    if made is not None:
        return await by_id(connection, made)
    # The workflow first, as whoever changes it or pays does.
    await connection.execute(HOLD, definition_id)
    await end(connection, definition_id)
    made = await connection.fetchval(
        GRANT, confirmation_id, definition_id, version, list(terms.payees), terms.total.currency, terms.each.minor,
        terms.day.minor, terms.total.minor, terms.zone, terms.until,
    )  # fmt: skip
    return await by_id(connection, made)


async def hold_for(connection: Any, workflow_id: str) -> Mandate:
    """The live mandate that a run can pay under, locked until the caller's transaction is over.

    Raises NoMandate where there is none or the workflow was changed since the run began, UserError while it is paused.
    """
    run = await connection.fetchrow(RUN, workflow_id)
    if run is None or run["state"] == "deleted":
        raise NoMandate(NONE)
    if run["state"] != "active":
        raise UserError(PAUSED)
    if run["began_with"] != run["version"]:
        raise NoMandate(EARLIER)
    found = await connection.fetchval(LOCK, run["id"])
    if found is None:
        raise NoMandate(NONE)
    return await by_id(connection, found)


async def use(connection: Any, mandate: Mandate, key: str, workflow_id: str, payee: bytes, amount: Money) -> Mandate:
    """Count a payment against a mandate that the caller holds, under a key of its own; the mandate as it is then.

    Raises NoMandate and OutsideMandate, and has then written nothing.
    """
    mandate.check(payee, amount)
    await connection.execute(USE, key, mandate.id, workflow_id, payee, amount.minor)
    return await by_id(connection, mandate.id)


async def used(connection: Any, key: str) -> Use | None:
    """What was paid under this key."""
    row = await connection.fetchrow(USED, key)
    if row is None:
        return None
    currency = (await by_id(connection, row["mandate_id"])).terms.total.currency
    return Use(row["mandate_id"], row["payee"], Money(row["amount"], currency))


async def end(connection: Any, definition_id: UUID) -> bool:
    """End what a workflow may pay, at once; False where it might pay nothing."""
    return await connection.fetchval(END, definition_id) is not None


async def end_this(connection: Any, id_: int) -> bool:
    """End one mandate, at once; False where it was over."""
    return await connection.fetchval(END_THIS, id_) is not None


async def listed(connection: Any, before: int, limit: int) -> list[Mandate]:
    """The mandates of everybody with an id below `before`, newest first; those that are over, too."""
    return [_mandate(row) for row in await connection.fetch(LISTED, before, limit)]


async def live(connection: Any, definition_id: UUID) -> Mandate | None:
    """What a workflow may pay now."""
    row = await connection.fetchrow(LIVE, definition_id)
    return None if row is None else _mandate(row)


async def by_id(connection: Any, id_: int) -> Mandate:
    """A mandate there is."""
    return _mandate(await connection.fetchrow(BY_ID, id_))


async def of_person(connection: Any, person_id: UUID, before: int, limit: int = LISTED_MAX) -> Sequence[Mandate]:
    """The mandates of a person's workflows with an id below `before`, newest first; those that are over, too."""
    return [_mandate(row) for row in await connection.fetch(OF_PERSON, person_id, before, limit)]


async def uses(connection: Any, id_: int) -> list[tuple[datetime, str, int]]:
    """What was paid under a mandate, oldest first: when, by which run, how many minor units."""
    return [tuple(row) for row in await connection.fetch(USES, id_)]


def _mandate(row: Any) -> Mandate:
    def money(minor: int) -> Money:
        return Money(minor, row["currency"])

    each, day, total = money(row["max_each"]), money(row["max_per_day"]), money(row["max_total"])
    terms = Terms(tuple(row["payees"]), each, day, total, row["zone"], row["until"])
    return Mandate(
        row["id"], row["confirmation_id"], row["definition_id"], row["version"], terms, money(row["spent"]),
        money(row["today"]), row["created_at"], row["ended_at"], row["is_late"],
    )  # fmt: skip
