"""Payment instructions in the database: made in the caller's transaction, claimed, moved, and settled in the books.

A claim is a lease by the database's clock and `attempt`, the fence: whoever lost it changes nothing. Each move is one
statement that also writes the timeline. What a success or a failure does to the books is written in its transaction.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import orjson

from core import codes
from core.db import Database
from core.errors import Conflict, Erased, UserError
from core.language import Saying
from ledger import holds, instruction_models, invoices, own_accounts  # noqa: F401  its tables follow persons who are merged
from ledger.accounts import clearing, disputed, fee_income, own, wallet
from ledger.errors import IllegalEntry, KeyReused, Unknown
from ledger.fees import fee_for
from ledger.instructions import DONE, Direction, Instruction, Method, Payee, State, payout_key
from ledger.journal import Account, Entry, Kind, Posting, check_key, credit, debit
from ledger.money import Money
from ledger.posting import post

PROVIDER = "intasend"
PHONE = re.compile(r"254[17][0-9]{8}")
ASKED_AGAIN_S = 5
HINTS_MAX = 50
"""Webhooks that are kept of one instruction."""
NAME_CHARS_MAX = 80
MPESA = "KES"

NO_MPESA = Saying(
    "“{number}” is not an M-Pesa number. Write it such as 0712 345 678.",
    "“{number}” si namba ya M-Pesa. Iandike kama 0712 345 678.",
)
WHOLE = Saying(
    "M-Pesa moves whole Kenyan shillings only, such as KES 500.",
    "M-Pesa hutuma shilingi kamili za Kenya tu, kama KES 500.",
)

NOT_COME = Saying(
    "Only a payment to us that has come can be given back or disputed.",
    "Malipo yaliyotufikia tu ndiyo yanayoweza kurudishwa au kubishaniwa.",
)
NO_MORE = Saying("At most {left} of it can be given back.", "Kinachoweza kurudishwa ni {left}, si zaidi.")

_READ = """
SELECT i.id, i.reference, i.direction, i.method, i.state, i.attempt, i.owner, i.currency, i.amount, i.fee, i.kind,
       i.person_id, i.conversation_id, i.payee, i.tracking_id, i.invoice_id, i.session, i.page_url, i.tries,
       i.created_at, i.asked_at, i.failing_since, i.request_hash, i.pays, i.account, i.dispute_id,
       b.invoice_id AS refunds, p.language, clock_timestamp() AS now
FROM payment_instruction i JOIN person p ON p.id = i.person_id LEFT JOIN payment_instruction b ON b.id = i.refunds
"""
BY_ID = f"{_READ} WHERE i.id = $1"
BY_REFERENCE = f"{_READ} WHERE i.reference = $1"
BY_KEY = f"{_READ} WHERE i.key = $1"
OF_PERSON = f"{_READ} WHERE i.person_id = $1 AND i.id < $2 ORDER BY i.id DESC LIMIT $3"
ON_INVOICE = f"{_READ} WHERE i.pays = $1 ORDER BY i.id DESC LIMIT $2"
REASONS = """
SELECT DISTINCT ON (instruction_id) instruction_id, reason FROM payment_event
WHERE instruction_id = ANY($1::bigint[]) ORDER BY instruction_id, id DESC
"""
LOOK_SOON = """
UPDATE payment_instruction SET hinted_at = clock_timestamp(), due_at = least(due_at, clock_timestamp())
WHERE id = $1 AND state IN ('pending', 'processing', 'unknown') AND due_at IS NOT NULL
  AND (hinted_at IS NULL OR hinted_at < clock_timestamp() - make_interval(secs => $2))
RETURNING id
"""
CLAIMABLE = """
SELECT id, greatest(lease_until, due_at) AS lease_until FROM payment_instruction
WHERE due_at <= clock_timestamp() AND lease_until <= clock_timestamp() ORDER BY due_at LIMIT $1
"""
CLAIM = """
UPDATE payment_instruction SET attempt = attempt + 1, lease_until = clock_timestamp() + $2::interval
WHERE id = $1 AND due_at <= clock_timestamp() AND lease_until <= clock_timestamp() RETURNING id
"""
ADD = """
WITH made AS (
    INSERT INTO payment_instruction (reference, key, request_hash, direction, method, owner, person_id, conversation_id,
                                     currency, amount, fee, kind, payee, pays, account, refunds, dispute_id)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) RETURNING id, person_id
)
INSERT INTO payment_event (instruction_id, to_state, actor, reason)
SELECT id, 'ready', coalesce($18, 'person:' || person_id), $19 FROM made RETURNING instruction_id
"""
MOVE = """
WITH moved AS (
    UPDATE payment_instruction
    SET state = $4, tracking_id = coalesce($5, tracking_id), invoice_id = coalesce($6, invoice_id),
        session = coalesce($7, session), page_url = coalesce($18, page_url), receipt = coalesce($8, receipt),
        charge = coalesce($17, charge),
        tries = tries + $9::int,
        asked_at = CASE WHEN $10 THEN clock_timestamp() ELSE asked_at END, failing_since = NULL,
        due_at = CASE WHEN hinted_at > lease_until - $15::interval THEN clock_timestamp()
                      ELSE clock_timestamp() + $11::interval END,
        lease_until = CASE WHEN $16 THEN lease_until ELSE clock_timestamp() END,
        done_at = CASE WHEN $4 IN ('succeeded', 'complete', 'late', 'failed')
                       THEN coalesce(done_at, clock_timestamp()) END
    WHERE id = $1 AND attempt = $2 AND state = $3
    RETURNING id
)
INSERT INTO payment_event (instruction_id, from_state, to_state, actor, reason, detail)
SELECT id, $3, $4, $12, $13, $14::text::jsonb FROM moved RETURNING instruction_id
"""
"""$15 is the lease as it was claimed: a hint that came since then has the row looked at again at once, else it is after
$11, or, where that is null, no more."""
STAY = """
UPDATE payment_instruction
SET due_at = CASE WHEN hinted_at > lease_until - $5::interval THEN clock_timestamp()
                  ELSE clock_timestamp() + $3::interval END,
    failing_since = CASE WHEN $4 THEN coalesce(failing_since, clock_timestamp()) END,
    lease_until = clock_timestamp()
WHERE id = $1 AND attempt = $2 RETURNING id
"""
NOTE = """
INSERT INTO payment_event (instruction_id, from_state, to_state, actor, reason, detail)
VALUES ($1, $2, $2, $3, $4, $5::text::jsonb)
"""
LOCK = "SELECT FROM payment_instruction WHERE id = $1 FOR NO KEY UPDATE"
HINT = """
WITH named AS (
    SELECT id, state FROM payment_instruction WHERE account IS NULL AND id = coalesce(
        (SELECT id FROM payment_instruction WHERE tracking_id = $1),
        (SELECT id FROM payment_instruction WHERE invoice_id = $1),
        (SELECT id FROM payment_instruction WHERE reference = $2 AND direction = 'in' AND invoice_id IS NULL)
    )
), kept AS (
    INSERT INTO payment_hint (instruction_id, ref, state, said_at)
    SELECT named.id, $1, $3, $4 FROM named
    WHERE (SELECT count(*) FROM payment_hint h WHERE h.instruction_id = named.id) < $5
    ON CONFLICT DO NOTHING RETURNING instruction_id
), woken AS (
    UPDATE payment_instruction i
    SET hinted_at = clock_timestamp(), due_at = least(i.due_at, clock_timestamp())
    FROM kept WHERE i.id = kept.instruction_id AND i.state NOT IN ('ready', 'needs_review')
)
SELECT (SELECT count(*) FROM named) AS known, (SELECT count(*) FROM kept) AS new
"""
REFUNDED = """
WITH moved AS (
    UPDATE dispute SET state = CASE WHEN $2 THEN 'refunded' ELSE 'frozen' END,
           closed_at = CASE WHEN $2 THEN clock_timestamp() END
    WHERE id = $1 AND state = 'refunding' RETURNING id, state, frozen
)
INSERT INTO dispute_event (dispute_id, from_state, to_state, amount, actor, reason)
SELECT id, 'refunding', state, frozen, 'worker', CASE WHEN $2 THEN '' ELSE 'the refund failed' END FROM moved
"""
RESOLVE = """
SELECT id, attempt, state FROM payment_instruction WHERE reference = $1 FOR NO KEY UPDATE
"""
RESOLVED = """
UPDATE payment_instruction SET state = $2, attempt = attempt + 1, lease_until = clock_timestamp(), due_at = NULL,
       done_at = clock_timestamp()
WHERE id = $1
"""


@dataclass(frozen=True, slots=True)
class Collect:
    """Money that is to come in. `key` is the caller's idempotency key; `owner` whose wallet it is for.

    A push needs a `payee` with an M-Pesa number; a checkout tells the address of its page in the conversation.
    """

    key: str
    method: Method
    owner: str
    person_id: UUID
    conversation_id: UUID
    amount: Money
    payee: Payee | None = None
    kind: Kind = Kind.DEPOSIT
    fee: Money | None = None
    """What we take off it for ourselves once it has come; None: what the schedule that is valid now says."""
    pays: int | None = None
    """The invoice that it pays, in whole or in part; the kind is then INVOICE_PAYMENT."""


@dataclass(frozen=True, slots=True)
class PayOut:
    """Money that is to leave `owner`'s wallet for an M-Pesa number; `fee` is what we charge the owner besides."""

    key: str
    owner: str
    person_id: UUID
    conversation_id: UUID
    amount: Money
    payee: Payee
    fee: Money | None = None
    allowance: holds.Allowance | None = None
    """The most that may be spent in a time, looked at under the lock of the wallet."""
    account: str | None = None
    """The owner's own account with the provider that it is paid from, if not from ours; there is no fee then."""


def mpesa_account(number: str) -> str:
    """A phone number as M-Pesa writes it, 2547…; UserError for one that M-Pesa does not have."""
    digits = re.sub(r"[\s()-]", "", number).lstrip("+")
    if digits.startswith("0"):
        digits = "254" + digits[1:]
    if not PHONE.fullmatch(digits):
        raise UserError(NO_MPESA.filled(number=number[:NAME_CHARS_MAX]))
    return digits


async def collect(connection: Any, asked: Collect) -> Instruction:
    """Have money asked for, in the caller's transaction; the worker does it once that is committed.

    It comes to the person's own account with the provider where they have one, else to ours. The same key again is the
    same instruction. Raises UserError, KeyReused, Erased where the conversation is gone, and NotPayable for an invoice
    that takes no such payment.
    """
    payee = asked.payee
    if asked.method is Method.PUSH:
        payee = _mpesa(payee, asked.amount)
    account = await own_accounts.account_of(connection, asked.person_id)
    fee = asked.fee if asked.fee is not None else await fee_for(connection, asked.kind, asked.amount)
    if account is not None:
        fee = Money(0, asked.amount.currency)  # It never comes to us, so nothing can be taken off it.
    return await _add(
        connection, asked.key, Direction.IN, asked.method, asked.owner, asked.person_id, asked.conversation_id,
        asked.amount, fee, asked.kind, payee, pays=asked.pays, account=account,
    )  # fmt: skip


async def pay_out(connection: Any, asked: PayOut) -> Instruction:
    """Have money sent, in the caller's transaction: what it takes is kept back on the wallet from now on.

    The same key again is the same instruction. Raises InsufficientFunds, SpendingLimit, UserError, KeyReused and
    Erased, and has then written nothing.
    """
    fee = asked.fee or Money(0, asked.amount.currency)
    if asked.account is not None and fee.minor:
        raise IllegalEntry("What is paid from somebody's own account has no fee of ours.")
    payee = _mpesa(asked.payee, asked.amount)
    return await _add(
        connection, asked.key, Direction.OUT, Method.PAYOUT, asked.owner, asked.person_id, asked.conversation_id,
        asked.amount, fee, Kind.WITHDRAWAL, payee, asked.allowance, account=asked.account,
    )  # fmt: skip


def _mpesa(payee: Payee | None, amount: Money) -> Payee:
    if amount.currency != MPESA or amount.minor % 100 or amount.minor <= 0:
        raise UserError(WHOLE)
    if payee is None:
        raise UserError(NO_MPESA.filled(number=""))
    return Payee(mpesa_account(payee.account), " ".join(payee.name.split())[:NAME_CHARS_MAX])


async def _add(
    connection: Any, key: str, direction: Direction, method: Method, owner: str, person_id: UUID,
    conversation_id: UUID, amount: Money, fee: Money, kind: Kind, payee: Payee | None,
    allowance: holds.Allowance | None = None, pays: int | None = None, back: "GivenBack | None" = None,
    account: str | None = None,
) -> Instruction:  # fmt: skip
    check_key(key)
    # What is taken off what comes in is not asked for: asked for again under another schedule, it is the same request.
    paid = fee if direction is Direction.OUT else Money(0, amount.currency)
    asked = [direction, method, owner, str(conversation_id), str(amount), str(paid), kind]
    asked += [payee.account, payee.name] if payee else []
    asked += [f"invoice:{pays}"] if pays is not None else []
    asked += [str(back.id), str(back.dispute_id)] if back else []
    request_hash = hashlib.sha256("\x1f".join(asked).encode()).digest()
    # Two calls with one key wait for each other, so that the second finds what the first made.
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 7))", f"payment:{key}")
    if (row := await connection.fetchrow(BY_KEY, key)) is not None:
        if row["request_hash"] != request_hash:
            raise KeyReused("The key was used for another payment.")
        return await _instruction(connection, row)
    if pays is not None:
        await invoices.expect(connection, pays, amount, is_push=method is Method.PUSH)
    reference = codes.grouped(codes.new_code(secrets.choice))
    sealed = None
    if payee is not None:
        room = await connection.keys.of(connection, conversation_id)
        sealed = room.seal(_as_payee(reference), orjson.dumps({"account": payee.account, "name": payee.name}))
    hold_key = payout_key(reference)
    if direction is Direction.OUT:
        # First: what is refused here leaves no row that somebody could commit all the same.
        source = _source(owner, amount.currency, account, back.dispute_id if back else None)
        await holds.place(connection, hold_key, source, amount + fee, allowance=allowance)
    made = await connection.fetchval(
        ADD, reference, key, request_hash, direction.value, method.value, owner, person_id, conversation_id,
        amount.currency, amount.minor, fee.minor, kind.value, sealed, pays, account,
        *((back.id, back.dispute_id, back.by, back.reason) if back else (None, None, None, "")),
    )  # fmt: skip
    if made is None:  # A trigger keeps rows from being written for whoever is being erased.
        if direction is Direction.OUT:
            await holds.void(connection, hold_key)
        raise Erased
    await connection.execute("SELECT pg_notify('mathia', 'payment')")
    return await _instruction(connection, await connection.fetchrow(BY_KEY, key))


@dataclass(frozen=True, slots=True)
class GivenBack:
    """What a refund gives back (the row of a payment to us), for which dispute if any, and who wants it why."""

    id: int
    by: str
    reason: str
    dispute_id: int | None = None


LOCK_PAYMENT = """
SELECT id, reference, direction, state, owner, person_id, conversation_id, currency, amount, invoice_id,
       account
FROM payment_instruction WHERE reference = $1 FOR NO KEY UPDATE
"""
KNOWN = "SELECT tracking_id FROM payment_instruction WHERE tracking_id = ANY($1::text[])"
OWNER_NOW = "SELECT coalesce(merged_into, id)::text FROM person WHERE id = $1"
STILL = """
SELECT (i.amount
    - (SELECT coalesce(sum(r.amount), 0) FROM payment_instruction r LEFT JOIN dispute d ON d.id = r.dispute_id
       WHERE r.refunds = i.id AND r.state <> 'failed' AND (d.id IS NULL OR d.closed_at IS NOT NULL))
    - (SELECT coalesce(sum(d.amount), 0) FROM dispute d
       WHERE d.instruction_id = i.id AND (d.closed_at IS NULL OR d.state = 'lost') AND d.id IS DISTINCT FROM $2)
)::bigint FROM payment_instruction i WHERE i.id = $1
"""


async def payment_to_us(connection: Any, reference: str) -> Any:
    """The row of a payment to us that has come, locked: nothing of it is refunded or disputed beside. Raises UserError,
    and Unknown where there is no payment of this reference."""
    row = await connection.fetchrow(LOCK_PAYMENT, reference)
    if row is None:
        raise Unknown(f"There is no payment {reference}.")
    if row["direction"] != Direction.IN or State(row["state"]) not in DONE or row["invoice_id"] is None:
        raise UserError(NOT_COME)
    return row


async def still(connection: Any, payment_id: int, dispute_id: int | None = None) -> int:
    """Minor units of a payment to us that were not given back nor lost, and are not disputed but by `dispute_id`."""
    left: int = await connection.fetchval(STILL, payment_id, dispute_id)
    return left


async def known_refunds(connection: Any, ids: Sequence[str]) -> set[str]:
    """Which of these ids of the provider's are of payments of ours."""
    return {row["tracking_id"] for row in await connection.fetch(KNOWN, list(ids))}


async def owner_now(connection: Any, owner: str) -> str:
    """Whose wallet it is now: of whoever that person turned out to be, to whom the money has moved."""
    try:
        person = UUID(owner)
    except ValueError:
        return owner
    return await connection.fetchval(OWNER_NOW, person) or owner


async def refund(
    connection: Any, key: str, reference: str, amount: Money, by: str, reason: str, *, dispute_id: int | None = None
) -> Instruction:
    """Have a payment to us given back, or some of it, in the caller's transaction; the same key is the same refund.

    What it takes is kept back from now on: on the wallet it came to, or of what `dispute_id` has frozen. `by` is
    'staff:<name>' or 'person:<id>'. Raises UserError for more than came in, or a payment that has not come;
    InsufficientFunds where it has been spent, KeyReused, Unknown, and Erased.
    """
    row = await payment_to_us(connection, reference)
    back = GivenBack(row["id"], by, reason, dispute_id)
    left = Money(await still(connection, row["id"], dispute_id), row["currency"])
    again = await connection.fetchval("SELECT EXISTS (SELECT FROM payment_instruction WHERE key = $1)", key)
    if amount.currency != left.currency or amount.minor <= 0 or (amount > left and not again):
        raise UserError(NO_MORE.filled(left=left.said()))
    owner = await owner_now(connection, row["owner"])
    return await _add(
        connection, key, Direction.OUT, Method.REFUND, owner, row["person_id"], row["conversation_id"], amount,
        Money(0, amount.currency), Kind.REFUND, None, back=back, account=row["account"],
    )  # fmt: skip


async def newest_on(connection: Any, invoice_id: int, limit: int) -> Sequence[tuple[Instruction, str]]:
    """The last payments that were asked for on an invoice, the newest first, each with the reason for its state."""
    rows = await connection.fetch(ON_INVOICE, invoice_id, limit)
    found = await connection.fetch(REASONS, [row["id"] for row in rows])
    reasons = {row["instruction_id"]: row["reason"] for row in found}
    return [(await _instruction(connection, row), reasons[row["id"]]) for row in rows]


async def look_soon(connection: Any, of: Instruction) -> None:
    """Have the provider asked about a payment under way, now; at most once in ASKED_AGAIN_S, whoever wants it."""
    if await connection.fetchval(LOOK_SOON, of.id, ASKED_AGAIN_S) is not None:
        await connection.execute("SELECT pg_notify('mathia', 'payment')")


async def claim(db: Database, instruction_id: int, lease: timedelta) -> Instruction | None:
    """Lease one that is due; None when it is in other hands, or nothing is to be done."""
    async with db.hot() as connection:
        if await connection.fetchval(CLAIM, instruction_id, lease) is None:
            return None
        return await _instruction(connection, await connection.fetchrow(BY_ID, instruction_id))


async def find(connection: Any, reference: str) -> Instruction | None:
    """The instruction with this reference."""
    row = await connection.fetchrow(BY_REFERENCE, reference)
    return None if row is None else await _instruction(connection, row)


async def of_person(connection: Any, person_id: UUID, before: int, limit: int) -> Sequence[Instruction]:
    """Somebody's payments that were asked for before the one with the id `before`, newest first."""
    return [await _instruction(connection, row) for row in await connection.fetch(OF_PERSON, person_id, before, limit)]


@dataclass(frozen=True, slots=True)
class Learned:
    """What a move writes down besides the state: the provider's own ids, and what it said."""

    tracking_id: str | None = None
    invoice_id: str | None = None
    session: str | None = None
    page_url: str | None = None
    receipt: str | None = None
    charge: Money | None = None
    detail: Mapping[str, str] | None = None
    told: bool = False
    """The provider has just been told; later looks count from now."""
    again: bool = False
    """It could not be told, and will be once more."""


NOTHING: Final = Learned()


async def move(
    connection: Any, of: Instruction, to: State, reason: str, lease: timedelta, *,
    wait: timedelta | None = None, learned: Learned = NOTHING, keep: bool = False, actor: str = "worker",
) -> bool:  # fmt: skip
    """Move a claimed instruction on, with its line in the timeline; False when the claim was lost.

    It is looked at again after `wait`, or no more; with `keep` the claim goes on. A success posts its entry and a
    failure voids its hold, in the caller's transaction, which must do nothing to the books besides.
    """
    found = await connection.fetchval(
        MOVE, of.id, of.attempt, of.state.value, to.value, learned.tracking_id, learned.invoice_id, learned.session,
        learned.receipt, int(learned.again), learned.told, wait, actor, reason,
        orjson.dumps(dict(learned.detail)).decode() if learned.detail else None, lease, keep,
        learned.charge.minor if learned.charge else None, learned.page_url,
    )  # fmt: skip
    if found is None:
        return False
    await _settle(connection, of, to)
    return True


async def stay(
    db: Database, of: Instruction, wait: timedelta | None, lease: timedelta, *, failing: bool = False
) -> bool:
    """Let a claimed instruction go as it is, to be looked at after `wait` or no more; False when the claim was lost."""
    return await db.pool.fetchval(STAY, of.id, of.attempt, wait, failing, lease) is not None


async def note(connection: Any, of: Instruction, reason: str, detail: Mapping[str, str] | None = None) -> None:
    """Write something into the timeline that moves nothing."""
    said = orjson.dumps(dict(detail)).decode() if detail else None
    await connection.execute(NOTE, of.id, of.state.value, "worker", reason, said)


async def hint(connection: Any, ref: str, reference: str | None, state: str, said_at: str) -> bool:
    """Keep what a webhook says of the provider's payment `ref`, once, and have the provider asked; False: not ours.

    A payment without a known id of the provider's is also known by our own `reference`.
    """
    row = await connection.fetchrow(HINT, ref, reference, state, said_at, HINTS_MAX)
    if row["new"]:
        await connection.execute("SELECT pg_notify('mathia', 'payment')")
    return bool(row["known"])


async def resolve(connection: Any, reference: str, succeeded: bool, by: str, note_: str) -> Instruction:
    """What a member of staff found out about an instruction that needs review, with what it does to the books.

    Raises Conflict where there is none, or where it needs none.
    """
    row = await connection.fetchrow(RESOLVE, reference)
    if row is None or row["state"] != State.NEEDS_REVIEW:
        raise Conflict(f"{reference} does not need a review." if row else f"There is no payment {reference}.")
    of = await find(connection, reference)
    assert of is not None  # noqa: S101  its row is locked
    to = State.FAILED if not succeeded else State.SUCCEEDED if of.is_out else State.COMPLETE
    await connection.execute(RESOLVED, of.id, to.value)
    await connection.execute(
        "INSERT INTO payment_event (instruction_id, from_state, to_state, actor, reason) VALUES ($1, $2, $3, $4, $5)",
        of.id, of.state.value, to.value, by, note_,
    )  # fmt: skip
    await _settle(connection, of, to)
    return of


async def _settle(connection: Any, of: Instruction, to: State) -> None:
    """What reaching a state does to the books, and to the dispute that it was refunded for."""
    if of.dispute_id is not None and to in (*DONE, State.FAILED):
        await connection.execute(REFUNDED, of.dispute_id, to is not State.FAILED)
    if to in DONE:
        if of.pays is not None:
            await invoices.pay(connection, of.pays, of.entry_key, of.amount)
        await post(connection, await _entry(connection, of))
    elif to is State.FAILED and of.is_out:
        await _void(connection, of)


async def _void(connection: Any, of: Instruction) -> None:
    found = await holds.find(connection, of.hold_key)
    if found is not None and found.state == "open":
        await holds.void(connection, of.hold_key)


async def _entry(connection: Any, of: Instruction) -> Entry:
    """The entry that an instruction's success is."""
    currency = of.amount.currency
    between = clearing(provider_of(of.account), currency)
    whose = _source(of.owner, currency, of.account, of.dispute_id)
    postings: list[Posting] = [credit(fee_income(currency), of.fee)] if of.fee.minor else []
    if not of.is_out:
        postings.append(debit(between, of.amount))
        if of.amount > of.fee:
            postings.append(credit(whose, of.amount - of.fee))
        return Entry(of.entry_key, of.kind, tuple(postings), of.reference)
    postings += debit(whose, of.amount + of.fee), credit(between, of.amount)
    found = await holds.find(connection, of.hold_key)
    settles = of.hold_key if found is not None and found.state == "open" else None
    return Entry(of.entry_key, of.kind, tuple(postings), of.reference, settles=settles)


def provider_of(account: str | None) -> str:
    """What an account with the provider is called in the books."""
    return PROVIDER if account is None else f"{PROVIDER}:{account}"


def _source(owner: str, currency: str, account: str | None, dispute_id: int | None) -> Account:
    """The account that an instruction fills or empties."""
    if account is not None:
        return own(owner, account, currency)
    return wallet(owner, currency) if dispute_id is None else disputed(owner, currency)


async def _instruction(connection: Any, row: Any) -> Instruction:
    currency = row["currency"]
    payee = None
    if row["payee"] is not None:
        [opened] = await connection.keys.opened(
            connection, [(row["conversation_id"], _as_payee(row["reference"]), row["payee"])]
        )
        payee = None if opened is None else Payee(**orjson.loads(opened))
    return Instruction(
        id=row["id"], reference=row["reference"], direction=Direction(row["direction"]), method=Method(row["method"]),
        state=State(row["state"]), attempt=row["attempt"], owner=row["owner"], amount=Money(row["amount"], currency),
        fee=Money(row["fee"], currency), kind=Kind(row["kind"]), person_id=row["person_id"],
        conversation_id=row["conversation_id"], language=row["language"], payee=payee, tracking_id=row["tracking_id"],
        invoice_id=row["invoice_id"], session=row["session"], tries=row["tries"], created_at=row["created_at"],
        asked_at=row["asked_at"], failing_since=row["failing_since"], now=row["now"],
        page_url=row["page_url"], pays=row["pays"], refunds=row["refunds"], account=row["account"],
        dispute_id=row["dispute_id"],
    )  # fmt: skip


def _as_payee(reference: str) -> bytes:
    """What a payee is sealed as."""
    return b"payee\0" + reference.encode()


async def waiting_for_review(connection: Any, limit: int) -> Sequence[Any]:
    """What needs a person, the oldest first: what it is, the provider's ids, since when, and why."""
    rows: Sequence[Any] = await connection.fetch(REVIEW, limit)
    return rows


REVIEW = """
SELECT i.reference, i.direction, i.currency, i.amount, i.tracking_id, i.invoice_id, e.at, e.reason
FROM payment_instruction i
CROSS JOIN LATERAL (SELECT at, reason FROM payment_event WHERE instruction_id = i.id ORDER BY id DESC LIMIT 1) e
WHERE i.state = 'needs_review' ORDER BY i.id LIMIT $1
"""
