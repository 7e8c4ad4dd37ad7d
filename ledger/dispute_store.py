"""Disputes in the database: opened, frozen and decided in the caller's transaction, each step once.

A step is taken under the lock of the dispute's row; PostgreSQL refuses one that does not follow.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from core import codes
from core.errors import Conflict, UserError
from core.language import Saying
from ledger.accounts import disputed, held_at, receivable, wallet
from ledger.disputes import Act, Stage
from ledger.errors import KeyReused, Unknown
from ledger.instruction_store import PROVIDER, owner_now, payment_to_us, refund, still
from ledger.journal import Account, Entry, Kind, Posting, check_key, credit, debit
from ledger.money import Money
from ledger.posting import LOCK as LOCK_ACCOUNTS
from ledger.posting import make, post

LISTED_MAX = 200
GOOD_FOR = timedelta(days=7)
"""How long a decision that was proposed can be approved."""
PROPOSED: Final = "_proposed"
"""Follows an act in the timeline where it waits for a second person."""
REASON_CHARS_MAX = 500
UNDECIDED: Final = (Stage.OPEN, Stage.FROZEN)
PROVIDERS: Final = "provider"
"""Who opened a dispute that nobody of ours did."""

OPENED = Saying(
    "The payment {reference} is disputed, over {amount}. {frozen} of it are kept back in your wallet until that is"
    " decided.",
    "Malipo {reference} yanabishaniwa, kwa {amount}. {frozen} zimeshikwa kwenye pochi yako hadi uamuzi.",
)
OPENED_SPENT = Saying(
    "The payment {reference} is disputed, over {amount}. None of it was left in your wallet to keep back.",
    "Malipo {reference} yanabishaniwa, kwa {amount}. Hakuna iliyobaki kwenye pochi yako ya kushikwa.",
)
MORE = Saying(
    "Of the disputed payment {reference}, {frozen} of {amount} are now kept back in your wallet.",
    "Kwa malipo {reference} yanayobishaniwa, sasa {frozen} kati ya {amount} zimeshikwa kwenye pochi yako.",
)
BACK = Saying(
    "The dispute about the payment {reference} was decided for you: {frozen} of {amount} are free in your wallet"
    " again.",
    "Mgogoro wa malipo {reference} umeamuliwa upande wako: {frozen} kati ya {amount} ziko huru tena kwenye pochi yako.",
)
SETTLED = Saying(
    "The dispute about the payment {reference}, over {amount}, is settled. Nothing of yours is kept back for it.",
    "Mgogoro wa malipo {reference}, kwa {amount}, umekwisha. Hakuna pesa yako iliyoshikwa kwa ajili yake.",
)
GONE = Saying(
    "The {amount} of the disputed payment {reference} went back to whoever had paid them.",
    "{amount} za malipo {reference} yaliyobishaniwa zimerudi kwa aliyezilipa.",
)
GONE_OWED = Saying(
    "The {amount} of the disputed payment {reference} went back to whoever had paid them. {owed} of them were no longer"
    " in your wallet: you owe these.",
    "{amount} za malipo {reference} yaliyobishaniwa zimerudi kwa aliyezilipa. {owed} hazikuwepo tena kwenye pochi yako:"
    " unadaiwa hizo.",
)
NOT_OURS = Saying(
    "This payment came to the person's own account, so we hold nothing of it to freeze. It can be refunded.",
    "Malipo haya yalifika kwenye akaunti yao wenyewe, kwa hiyo hatuna cha kuzuia. Yanaweza kurudishwa.",
)
SECOND = Saying(
    "You proposed it, so somebody else has to approve it.",
    "Wewe ndiye uliyependekeza, kwa hiyo mtu mwingine lazima akubali.",
)
NO_MORE = Saying("At most {left} of it can still be disputed.", "Kinachoweza kubishaniwa bado ni {left}, si zaidi.")


_READ = """
SELECT d.id, d.reference, d.state, d.currency, d.amount, d.frozen, d.owed, d.line_id, d.opened_by, d.created_at,
       d.closed_at, i.reference AS payment, i.owner, i.person_id, i.conversation_id, p.language
FROM dispute d JOIN payment_instruction i ON i.id = d.instruction_id JOIN person p ON p.id = i.person_id
"""
BY_REFERENCE = f"{_READ} WHERE d.reference = $1"
BY_KEY = f"{_READ} WHERE d.key = $1"
OF_PAYMENT = f"{_READ} WHERE i.reference = $1 ORDER BY d.id LIMIT $2"
WAITING = f"{_READ} WHERE d.closed_at IS NULL ORDER BY d.id LIMIT $1"
OVER = f"{_READ} WHERE d.closed_at IS NOT NULL ORDER BY d.id DESC LIMIT $1"
LOCK = "SELECT id FROM dispute WHERE reference = $1 FOR NO KEY UPDATE"
ADD = """
WITH made AS (
    INSERT INTO dispute (reference, key, instruction_id, currency, amount, line_id, opened_by)
    VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id
)
INSERT INTO dispute_event (dispute_id, to_state, amount, actor, reason) SELECT id, 'open', $5, $7, $8 FROM made
"""
STEP = """
WITH moved AS (
    UPDATE dispute SET state = $3, frozen = $4, owed = $5,
           closed_at = CASE WHEN $3 IN ('released', 'refunded', 'lost') THEN clock_timestamp() END
    WHERE id = $1 AND state = $2 RETURNING id
)
INSERT INTO dispute_event (dispute_id, from_state, to_state, amount, actor, reason)
SELECT id, $2, $3, $6, $7, $8 FROM moved RETURNING dispute_id
"""
MARK = """
UPDATE invoice SET state = 'disputed'
WHERE id = (SELECT pays FROM payment_instruction WHERE reference = $1)
  AND state IN ('sent', 'part_paid', 'overdue', 'paid')
"""
UNMARK = """
UPDATE invoice SET state = CASE WHEN paid >= amount THEN 'paid' WHEN paid > 0 THEN 'part_paid' ELSE 'sent' END
WHERE id = (SELECT pays FROM payment_instruction WHERE reference = $1) AND state = 'disputed'
  AND NOT EXISTS (SELECT FROM dispute d JOIN payment_instruction i ON i.id = d.instruction_id
                  WHERE i.pays = invoice.id AND d.id <> $2 AND d.state <> 'released')
"""
"""An invoice of which something is disputed, refunded or lost stays marked; one of which all was released is not."""
STEPS = "SELECT count(*) FROM dispute_event WHERE dispute_id = $1"
NEWEST = """
SELECT to_state, actor, at > clock_timestamp() - $2::interval AS good FROM dispute_event
WHERE dispute_id = $1 ORDER BY id DESC LIMIT 1
"""
PROPOSE = """
INSERT INTO dispute_event (dispute_id, from_state, to_state, amount, actor, reason) VALUES ($1, $2, $3, $4, $5, $6)
"""
EVENTS = """
SELECT at, from_state, to_state, amount, actor, reason FROM dispute_event WHERE dispute_id = $1 ORDER BY id LIMIT $2
"""
EXPLAINED = """
UPDATE reconciliation_finding SET resolved_at = clock_timestamp(), resolved_by = $2, note = $3
WHERE kind = 'reversed' AND subject = $1 AND resolved_at IS NULL
"""


@dataclass(frozen=True, slots=True)
class Dispute:
    """One dispute of a payment to us. `frozen` is kept back of the disputed `amount`; `owed` had been spent when the
    money was lost; `line_id` is the provider's chargeback, where there is one."""

    id: int
    reference: str
    state: Stage
    amount: Money
    frozen: Money
    owed: Money
    payment: str
    owner: str
    person_id: UUID
    conversation_id: UUID
    language: str
    line_id: str | None
    opened_by: str
    created_at: datetime
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Opening:
    """A dispute that is to be opened, by staff or on the word of the provider's list (`line_id`)."""

    key: str
    payment: str
    amount: Money
    by: str
    reason: str
    line_id: str | None = None


async def open_(connection: Any, asked: Opening) -> Dispute:
    """Open a dispute in the caller's transaction, and freeze what is there; the same key is the same dispute.

    Raises UserError for more than can still be disputed, KeyReused, and Unknown.
    """
    check_key(asked.key)
    row = await payment_to_us(connection, asked.payment)
    if (found := await connection.fetchrow(BY_KEY, asked.key)) is not None:
        earlier = _dispute(found)
        if (earlier.payment, earlier.amount) != (asked.payment, asked.amount):
            raise KeyReused("The key was used for another dispute.")
        return earlier
    if row["account"] is not None:
        raise UserError(NOT_OURS)
    left = Money(await still(connection, row["id"]), row["currency"])
    if asked.amount.currency != left.currency or not 0 < asked.amount.minor <= left.minor:
        raise UserError(NO_MORE.filled(left=left.said()))
    reference = codes.grouped(codes.new_code(secrets.choice))
    await connection.execute(
        ADD, reference, asked.key, row["id"], row["currency"], asked.amount.minor, asked.line_id, asked.by, asked.reason
    )
    made = await _locked(connection, reference)
    await connection.execute(MARK, asked.payment)
    return await _freeze(connection, made, asked.by, "")


async def decide(
    connection: Any, act: Act, reference: str, by: str, reason: str, alone_max: Money
) -> tuple[Dispute, bool]:
    """Take a dispute a step on, in the caller's transaction; False beside it where that waits for somebody else.

    What moves more than `alone_max`, or another currency, is proposed by one of the staff and done when another one
    asks for the same within GOOD_FOR, with nothing in between. Raises UserError where that would be the same person,
    Conflict where it is not the next step, and Unknown.
    """
    of = await _locked(connection, reference)
    if not may(act, of):
        raise Conflict(f"The dispute is {of.state}: somebody was faster, or this is not its next step.")
    moved = of.amount if act is Act.LOSE else of.frozen
    alone = act is Act.FREEZE or (moved.currency == alone_max.currency and moved <= alone_max)
    if not alone:
        newest = await connection.fetchrow(NEWEST, of.id, GOOD_FOR)
        if newest["to_state"] != act + PROPOSED or not newest["good"]:
            await connection.execute(PROPOSE, of.id, of.state.value, act + PROPOSED, moved.minor, by, reason)
            return of, False
        if newest["actor"] == by:
            raise UserError(SECOND)
    return await _DO[act](connection, reference, by, reason), True


async def freeze(connection: Any, reference: str, by: str, reason: str) -> Dispute:
    """Freeze what has come since, up to what is disputed. Raises Conflict where the dispute is not open or frozen."""
    of = await _locked(connection, reference, *UNDECIDED)
    return await _freeze(connection, of, by, reason)


async def release(connection: Any, reference: str, by: str, reason: str) -> Dispute:
    """Decide for the person: what is frozen is theirs again. Raises Conflict where that is not the next step."""
    of = await _locked(connection, reference, *UNDECIDED)
    await connection.execute(UNMARK, of.payment, of.id)
    if of.frozen.minor:
        owner = await owner_now(connection, of.owner)
        whose = wallet(owner, of.amount.currency)
        source = await _where_frozen(connection, of, whose)
        legs = debit(source, of.frozen), credit(whose, of.frozen)
        await post(connection, Entry(f"dispute:{of.reference}:release", Kind.DISPUTE_RELEASE, legs, of.reference))
    return await _step(connection, of, Stage.RELEASED, by, reason, moved=of.frozen)


async def give_back(connection: Any, reference: str, by: str, reason: str) -> Dispute:
    """Decide for the payer: what is frozen is refunded to them by the provider. Where that fails it is frozen again.

    Raises Conflict where nothing is frozen, or that is not the next step.
    """
    of = await _locked(connection, reference, Stage.FROZEN)
    if of.line_id is not None:
        raise Conflict("The provider has taken this money back already: book it as lost.")
    nth = await connection.fetchval(STEPS, of.id)
    key = f"dispute:{of.reference}:refund:{nth}"
    await _step(connection, of, Stage.REFUNDING, by, reason, moved=of.frozen)
    await refund(connection, key, of.payment, of.frozen, by, reason, dispute_id=of.id)
    return await find(connection, reference)


async def lose(connection: Any, reference: str, by: str, reason: str) -> Dispute:
    """Book that the provider took the money back: out of what is frozen, and what had been spent the person owes.

    The finding of the comparison with the provider's list is explained by it. Raises Conflict where the provider took
    nothing, or that is not the next step.
    """
    of = await _locked(connection, reference, *UNDECIDED)
    if of.line_id is None:
        raise Conflict("The provider has taken nothing back for this dispute: release it, or refund it.")
    currency = of.amount.currency
    owed = of.amount - of.frozen
    # The provider's own list has it: what it holds for us is less, and nothing is on its way.
    held, owes = held_at(PROVIDER, currency), receivable(await owner_now(connection, of.owner), currency)
    source = await _where_frozen(connection, of, held, owes)
    legs: list[Posting] = [credit(held, of.amount)]
    if of.frozen.minor:
        legs.append(debit(source, of.frozen))
    if owed.minor:
        legs.append(debit(owes, owed))
    await post(connection, Entry(f"dispute:{of.reference}:lost", Kind.REFUND, tuple(legs), of.reference))
    await connection.execute(EXPLAINED, of.line_id, by, f"dispute {of.reference}: {reason}"[:REASON_CHARS_MAX])
    return await _step(connection, of, Stage.LOST, by, reason, moved=of.amount, owed=owed)


_DO: Final[Mapping[Act, Callable[[Any, str, str, str], Awaitable[Dispute]]]] = {
    Act.FREEZE: freeze, Act.RELEASE: release, Act.REFUND: give_back, Act.LOSE: lose
}  # fmt: skip


def may(act: Act, of: Dispute) -> bool:
    """Whether that is a next step of this dispute."""
    match act:
        case Act.FREEZE:
            return of.state in UNDECIDED and of.frozen < of.amount
        case Act.RELEASE:
            return of.state in UNDECIDED
        case Act.REFUND:
            return of.state is Stage.FROZEN and of.line_id is None
        case Act.LOSE:
            return of.state in UNDECIDED and of.line_id is not None


async def find(connection: Any, reference: str) -> Dispute:
    """The dispute with this reference; Unknown where there is none."""
    row = await connection.fetchrow(BY_REFERENCE, reference)
    if row is None:
        raise Unknown(f"There is no dispute {reference}.")
    return _dispute(row)


def told(before: Money | None, of: Dispute) -> Saying | None:
    """What its person is told of a step that left it so; `before` is what was frozen earlier, None as it was opened.

    None where there is nothing to tell, and of a refund, which tells its end itself.
    """
    known: dict[str, Saying | str | int] = {"reference": of.payment, "amount": of.amount.said()}
    match of.state:
        case Stage.OPEN | Stage.FROZEN if before is None and of.frozen.minor:
            return OPENED.filled(frozen=of.frozen.said(), **known)
        case Stage.OPEN | Stage.FROZEN if before is None:
            return OPENED_SPENT.filled(**known)
        case Stage.FROZEN if before != of.frozen:
            return MORE.filled(frozen=of.frozen.said(), **known)
        case Stage.RELEASED if of.frozen.minor:
            return BACK.filled(frozen=of.frozen.said(), **known)
        case Stage.RELEASED:
            return SETTLED.filled(**known)
        case Stage.LOST if of.owed.minor:
            return GONE_OWED.filled(owed=of.owed.said(), **known)
        case Stage.LOST:
            return GONE.filled(**known)
        case _:
            return None


async def is_known(connection: Any, line_id: str) -> bool:
    """Whether there is a dispute of this chargeback of the provider's."""
    found: bool = await connection.fetchval("SELECT EXISTS (SELECT FROM dispute WHERE line_id = $1)", line_id)
    return found


async def waiting(connection: Any) -> list[Dispute]:
    """Disputes that are not decided, the oldest first; at most LISTED_MAX."""
    return [_dispute(row) for row in await connection.fetch(WAITING, LISTED_MAX)]


async def over(connection: Any, limit: int) -> list[Dispute]:
    """Disputes that were decided, the newest first."""
    return [_dispute(row) for row in await connection.fetch(OVER, limit)]


async def of_payment(connection: Any, reference: str) -> list[Dispute]:
    """The disputes of a payment to us, the oldest first."""
    return [_dispute(row) for row in await connection.fetch(OF_PAYMENT, reference, LISTED_MAX)]


async def events(connection: Any, of: Dispute) -> Sequence[Any]:
    """Its timeline: at, from_state, to_state, amount in minor units, actor, reason; at most LISTED_MAX."""
    rows: Sequence[Any] = await connection.fetch(EVENTS, of.id, LISTED_MAX)
    return rows


async def _freeze(connection: Any, of: Dispute, by: str, reason: str) -> Dispute:
    owner, currency = await owner_now(connection, of.owner), of.amount.currency
    whose, kept = wallet(owner, currency), disputed(owner, currency)
    await make(connection, (whose, kept))
    rows = {row["key"]: row for row in await connection.fetch(LOCK_ACCOUNTS, [whose.key, kept.key])}
    there = max(0, rows[whose.key]["posted"] - rows[whose.key]["pending_out"])
    more = Money(min(there, (of.amount - of.frozen).minor), currency)
    if not more.minor:
        return await find(connection, of.reference)
    key = f"dispute:{of.reference}:freeze:{await connection.fetchval(STEPS, of.id)}"
    await post(connection, Entry(key, Kind.DISPUTE_FREEZE, (debit(whose, more), credit(kept, more)), of.reference))
    return await _step(connection, of, Stage.FROZEN, by, reason, moved=more, frozen=of.frozen + more)


async def _where_frozen(connection: Any, of: Dispute, *others: Account) -> Account:
    """The account that keeps its money: of the person they are now, where it moved, else of whom they were.

    It and the `others` that an entry is going to touch are locked at once, in the order of everybody.
    """
    currency = of.amount.currency
    now, before = disputed(await owner_now(connection, of.owner), currency), disputed(of.owner, currency)
    await make(connection, {now, before, *others})
    rows = await connection.fetch(LOCK_ACCOUNTS, [one.key for one in {now, before, *others}])
    there = next(row for row in rows if row["key"] == before.key)
    return before if there["posted"] - there["pending_out"] >= of.frozen.minor else now


async def _locked(connection: Any, reference: str, *stages: Stage) -> Dispute:
    """The dispute under its lock, which stands in one of these stages (none: in any). Raises Conflict and Unknown."""
    if await connection.fetchval(LOCK, reference) is None:
        raise Unknown(f"There is no dispute {reference}.")
    of = await find(connection, reference)
    if stages and of.state not in stages:
        raise Conflict(f"The dispute is {of.state}: somebody was faster, or this is not its next step.")
    return of


async def _step(
    connection: Any, of: Dispute, to: Stage, by: str, reason: str, *, moved: Money, frozen: Money | None = None,
    owed: Money | None = None,
) -> Dispute:  # fmt: skip
    done = await connection.fetchval(
        STEP, of.id, of.state.value, to.value, (frozen or of.frozen).minor, (owed or of.owed).minor, moved.minor, by,
        reason,
    )  # fmt: skip
    assert done is not None  # noqa: S101  its row is locked
    return await find(connection, of.reference)


def _dispute(row: Any) -> Dispute:
    currency = row["currency"]
    return Dispute(
        row["id"], row["reference"], Stage(row["state"]), Money(row["amount"], currency),
        Money(row["frozen"], currency), Money(row["owed"], currency), row["payment"], row["owner"], row["person_id"],
        row["conversation_id"], row["language"], row["line_id"], row["opened_by"], row["created_at"], row["closed_at"],
    )  # fmt: skip
