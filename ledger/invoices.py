"""Invoices: what somebody asks another to pay, numbered without gaps in each year, and what was paid against them.

Which states follow which, and what each says about the sum paid, PostgreSQL sees to (docs/adr/0018). Money comes to an
invoice only by a payment instruction that belongs to it (`ledger.instruction_store.collect` with `pays`), and reaches
the issuer's wallet as INVOICE_PAYMENT when the provider, asked by us, says that it has it. What comes is always
counted, also too much, or on an invoice that is void by then: it is in the wallet, and the invoice says so.

Who has the token of an invoice may see and pay it; of it a hash is stored, and itself sealed with what is written on
the invoice.
"""

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson

from core.errors import Erased, LimitReached, UserError
from core.language import Saying
from ledger import invoice_models  # noqa: F401  its tables follow persons who are merged
from ledger.errors import IllegalEntry, KeyReused, Unknown
from ledger.journal import check_key
from ledger.money import Money

TOKEN_BYTES = 24
TOKEN = re.compile(r"[A-Za-z0-9_-]{32}")
"""What a token looks like: TOKEN_BYTES in URL-safe base64."""
NUMBER = re.compile(r"INV-[0-9]{4}-[0-9]{5}")
OPEN: Final = ("draft", "sent", "part_paid", "overdue")
"""States in which something is still to be paid."""
RESENDS_DAY_MAX = 2
"""How often one invoice is sent again within a day."""
PUSH_WITHIN = timedelta(minutes=3)
"""How long a request on somebody's phone is waited for before the same invoice may send another."""

NOT_PAYABLE = Saying("This invoice does not take a payment any more.", "Ankara hii haipokei malipo tena.")
TOO_MUCH = Saying("Only {rest} are left to pay on this invoice.", "Kwenye ankara hii zimebaki {rest} tu za kulipa.")
OTHER_CURRENCY = Saying("This invoice is paid in {currency}.", "Ankara hii hulipwa kwa {currency}.")
UNDER_WAY = Saying(
    "A request for this invoice is on a phone just now. Answer it there, or try again in a few minutes.",
    "Ombi la ankara hii liko kwenye simu sasa hivi. Lijibu huko, au jaribu tena baada ya dakika chache.",
)
VOID_PAID = Saying(
    "{paid} have been paid on invoice {number}, so it cannot be made void.",
    "{paid} zimeshalipwa kwenye ankara {number}, kwa hiyo haiwezi kufutwa.",
)
VOID_UNDER_WAY = Saying(
    "Somebody is paying invoice {number} just now. Try again in a few minutes.",
    "Kuna mtu analipa ankara {number} sasa hivi. Jaribu tena baada ya dakika chache.",
)
IS_VOID = Saying("Invoice {number} is void already.", "Ankara {number} imeshafutwa.")
NUMBERS_MAX = 99_999
"""As many as a year's numbers have places for."""
NO_NUMBER = Saying(
    "All {count} invoice numbers of {year} are used, so nothing was written. Tell whoever runs this service.",
    "Namba zote {count} za ankara za {year} zimetumika, kwa hiyo sikuandika. Waambie wanaoendesha huduma hii.",
)
NOT_OPEN = Saying(
    "Invoice {number} takes no payment any more: it is paid, void or disputed.",
    "Ankara {number} haipokei malipo tena: imelipwa, imefutwa au ina mgogoro.",
)
OFTEN = Saying(
    "Invoice {number} has been sent again {count} times within a day, which is as often as I do.",
    "Ankara {number} imeshatumwa tena mara {count} ndani ya siku moja, kiwango cha juu.",
)
NOWHERE_TO = Saying(
    "Invoice {number} has no e-mail address or number that I could send it to. Pass its address on yourself.",
    "Ankara {number} haina barua pepe wala namba ya kuitumia. Mtumie anwani yake wewe mwenyewe.",
)

_INVOICE = """
SELECT i.id, i.number, i.request_hash, i.person_id, i.conversation_id, i.state, i.currency, i.amount, i.paid,
       i.issued_on, i.due_on, i.sealed, i.created_at, i.series_id, i.mail_to, i.whatsapp_to, i.reminded,
       (SELECT json_agg(json_build_array(m.id, m.amount, m.how, m.paid_on, m.marked_by, m.at) ORDER BY m.id)::text
        FROM invoice_mark m WHERE m.invoice_id = i.id AND m.undone_at IS NULL) AS outside
FROM invoice i
"""
BY_ID = f"{_INVOICE} WHERE i.id = $1"
BY_KEY = f"{_INVOICE} WHERE i.key = $1"
BY_NUMBER = f"{_INVOICE} WHERE i.number = $1"
BY_TOKEN = f"{_INVOICE} WHERE i.token_hash = $1"
OF_PERSON = f"{_INVOICE} WHERE i.person_id = $1 AND i.id < $2 ORDER BY i.id DESC LIMIT $3"
LOCK = f"{_INVOICE} WHERE i.id = $1 FOR NO KEY UPDATE"
NEXT = """
INSERT INTO invoice_counter AS c (year, last) VALUES ($1, 1)
ON CONFLICT (year) DO UPDATE SET last = c.last + 1 WHERE c.last < $2 RETURNING last
"""
"""None where the year has no more. Its row stays locked until the transaction ends: who rolls back gives the number
back, and the next one has it."""
HOLD_KEY = "SELECT pg_advisory_xact_lock(hashtextextended('invoice:' || $1, 0))"
MAKE = """
INSERT INTO invoice (number, key, request_hash, person_id, conversation_id, currency, amount, issued_on, due_on,
                     token_hash, sealed, series_id, mail_to, whatsapp_to, due_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, clock_timestamp()) RETURNING id
"""
"""It is looked at at once."""
CLAIMABLE = """
SELECT id, greatest(lease_until, due_at) AS lease_until FROM invoice
WHERE due_at <= clock_timestamp() AND lease_until <= clock_timestamp() ORDER BY due_at LIMIT $1
"""
CLAIM = """
UPDATE invoice SET attempt = attempt + 1, lease_until = clock_timestamp() + $2::interval
WHERE id = $1 AND due_at <= clock_timestamp() AND lease_until <= clock_timestamp() RETURNING attempt
"""
SETTLE = """
UPDATE invoice SET due_at = $3, reminded = reminded + $4::int, lease_until = clock_timestamp()
WHERE id = $1 AND attempt = $2 RETURNING id
"""
SERIES_CLAIMABLE = """
SELECT id, due_at AS lease_until FROM invoice_series WHERE due_at <= clock_timestamp() ORDER BY due_at LIMIT $1
"""
_SERIES = """
SELECT s.id, s.key, s.person_id, s.conversation_id, s.mail_to, s.whatsapp_to, s.currency, s.amount, s.due_days,
       s.rrule, s.wall_time, s.zone, s.sealed, s.due_at
FROM invoice_series s
"""
SERIES_BY_KEY = f"{_SERIES} WHERE s.key = $1"
SERIES_LOCK = f"{_SERIES} WHERE s.id = $1 AND s.due_at <= $2 FOR NO KEY UPDATE SKIP LOCKED"
SERIES_OF = f"{_SERIES} WHERE s.person_id = $1 AND s.ended_at IS NULL ORDER BY s.id LIMIT $2"
SERIES_ALL = f"{_SERIES} WHERE s.person_id = $1 AND s.id < $2 ORDER BY s.id DESC LIMIT $3"
SERIES_MAKE = """
INSERT INTO invoice_series (key, person_id, conversation_id, mail_to, whatsapp_to, currency, amount, due_days, rrule,
                            wall_time, zone, sealed, due_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) RETURNING id
"""
SERIES_NEXT = """
UPDATE invoice_series SET wall_time = coalesce($2, wall_time), due_at = $3,
       ended_at = CASE WHEN $3::timestamptz IS NULL THEN clock_timestamp() END
WHERE id = $1
"""
SERIES_END = "UPDATE invoice_series SET due_at = NULL, ended_at = clock_timestamp() WHERE id = $1 AND ended_at IS NULL"
RESEND = """
WITH asked AS (
    INSERT INTO invoice_resend (key, invoice_id, by) VALUES ($1, $2, $3) ON CONFLICT (key) DO NOTHING
    RETURNING invoice_id
)
UPDATE invoice SET due_at = clock_timestamp() FROM asked WHERE id = asked.invoice_id
"""
RESENT_BY_KEY = "SELECT EXISTS (SELECT FROM invoice_resend WHERE key = $1 AND invoice_id = $2)"
RESENT_LATELY = "SELECT count(*) FROM invoice_resend WHERE invoice_id = $1 AND at > clock_timestamp() - $2::interval"
TO_RESEND = """
UPDATE invoice_resend SET sent_at = clock_timestamp() WHERE invoice_id = $1 AND sent_at IS NULL RETURNING id
"""
RESENDS = "SELECT at, by, sent_at FROM invoice_resend WHERE invoice_id = $1 ORDER BY id DESC LIMIT $2"
PAYMENT = "SELECT invoice_id, amount FROM invoice_payment WHERE key = $1"
PAYMENTS = "SELECT key, amount, at FROM invoice_payment WHERE invoice_id = $1 ORDER BY at, key"
PAY = "INSERT INTO invoice_payment (key, invoice_id, amount) VALUES ($1, $2, $3)"
PAID = """
UPDATE invoice SET paid = $2, state = $3, due_at = CASE WHEN $3 <> 'paid' THEN due_at END WHERE id = $1
"""
MOVE = "UPDATE invoice SET state = $2, due_at = CASE WHEN $2 <> 'void' THEN due_at END WHERE id = $1"
GIVEN_BACK = """
SELECT coalesce(sum(r.amount), 0)::bigint
FROM payment_instruction p JOIN payment_instruction r ON r.refunds = p.id AND r.refunds IS NOT NULL
WHERE p.pays = $1 AND r.state = 'succeeded'
"""
ASKED = """
SELECT EXISTS (
    SELECT FROM payment_instruction
    WHERE pays = $1 AND method = 'push' AND state IN ('ready', 'initiating', 'pending', 'processing', 'unknown')
      AND created_at > clock_timestamp() - $2::interval
)
"""


class NotPayable(UserError):
    """The invoice does not take this payment; the message says why to whoever pays."""


@dataclass(frozen=True, slots=True)
class Words:
    """What is written on an invoice, and how its client is reached: all of it is the issuer's own word.

    `phone` is E.164; `language` is that of the issuer as they wrote it, in which the client is spoken to.
    """

    issuer: str
    payer: str
    description: str | None = None
    email: str | None = None
    phone: str | None = None
    language: str = "en"


@dataclass(frozen=True, slots=True)
class Places:
    """The conversations in which a client gets an invoice; none where its issuer passes its address on themselves."""

    mail: UUID | None = None
    whatsapp: UUID | None = None


NOWHERE: Final = Places()


@dataclass(frozen=True, slots=True)
class Outside:
    """What was paid on an invoice without passing through us, as its issuer or staff say: `how` is one of
    `ledger.invoice_marks.How`, `on` the day by the issuer's clock, `by` who said so."""

    id: int
    amount: Money
    how: str
    on: date
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Invoice:
    """One invoice: `number` such as INV-2026-00007, `state` as in the table, dates in the issuer's time zone.

    `words` and `token` are None once the issuer has been erased.
    """

    id: int
    number: str
    person_id: UUID
    conversation_id: UUID
    state: str
    amount: Money
    paid: Money
    issued_on: date
    due_on: date | None
    created_at: datetime
    words: Words | None
    token: str | None
    to: "Places"
    series_id: int | None = None
    reminded: int = 0
    outside: tuple[Outside, ...] = ()
    """Of what is paid, what did not pass through us, in the order it was marked."""

    @property
    def rest(self) -> Money:
        """What is still to be paid; negative by what was paid too much."""
        return self.amount - self.paid

    @property
    def takes_payment(self) -> bool:
        """Whether somebody can still be asked to pay it."""
        return self.state in OPEN


@dataclass(frozen=True, slots=True)
class Series:
    """An invoice that comes round again, and its next occurrence: `wall_time` in `zone` under `rrule`.

    Each is due `due_days` after its day, or on none. `words` are None once the issuer has been erased.
    """

    id: int
    key: str
    person_id: UUID
    conversation_id: UUID
    amount: Money
    words: Words | None
    to: Places
    due_days: int | None
    rrule: str
    wall_time: datetime
    zone: str
    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class InvoicePayment:
    """One payment that came: `key` is that of its journal entry."""

    key: str
    amount: Money
    at: datetime


async def create(
    connection: Any, key: str, issuer: UUID, conversation_id: UUID, amount: Money, words: Words, *, today: date,
    due_on: date | None = None, to: Places = NOWHERE, series_id: int | None = None,
) -> Invoice:  # fmt: skip
    """Make a draft under the next number of the year of `today`, the issuer's date, in the caller's transaction.

    The worker looks after it once that is committed, and sends it where it has somebody to go to; wake "invoice" then.
    The same key again gives the same invoice; all numbers of a year wait for the transaction's end. Raises KeyReused
    where the request was another, IllegalEntry, Erased for an issuer who has been, and LimitReached where the year has
    no number left.
    """
    check_key(key)
    if amount.minor <= 0:
        raise IllegalEntry("An invoice is for a positive amount.")
    if due_on is not None and due_on < today:
        raise IllegalEntry("An invoice is not due before it is written.")
    # Keyed, so that the hash does not tell who pays after the words are erased.
    asked = orjson.dumps([str(conversation_id), str(amount), due_on, asdict(words)]).decode()
    request = await connection.keys.blind(connection, "invoice", asked)
    await connection.execute(HOLD_KEY, key)
    row = await connection.fetchrow(BY_KEY, key)
    if row is None:
        room = await connection.keys.of(connection, conversation_id)
        last = await connection.fetchval(NEXT, today.year, NUMBERS_MAX)
        if last is None:
            raise LimitReached(NO_NUMBER.filled(count=NUMBERS_MAX, year=today.year))
        number = f"INV-{today.year:04}-{last:05}"
        token = secrets.token_urlsafe(TOKEN_BYTES)
        sealed = room.seal(_as_words(number), orjson.dumps({"token": token} | asdict(words)))
        made = await connection.fetchval(
            MAKE, number, key, request, issuer, conversation_id, amount.currency, amount.minor, today, due_on,
            _hash(token), sealed, series_id, to.mail, to.whatsapp,
        )  # fmt: skip
        if made is None:  # A trigger keeps rows from being written for whoever is being erased.
            raise Erased
        row = await connection.fetchrow(BY_ID, made)
    if row["request_hash"] != request:
        raise KeyReused("The key was used for another invoice.")
    return await _read(connection, row)


async def find(connection: Any, invoice_id: int) -> Invoice:
    """The invoice with this id; raises Unknown."""
    return await _found(connection, await connection.fetchrow(BY_ID, invoice_id))


async def by_number(connection: Any, number: str) -> Invoice | None:
    """The invoice with this number, whoever's it is."""
    row = await connection.fetchrow(BY_NUMBER, number.upper())
    return None if row is None else await _read(connection, row)


async def by_token(connection: Any, token: str) -> Invoice | None:
    """The invoice whose address to pay ends in this token; None where there is none, or its issuer was erased."""
    if TOKEN.fullmatch(token) is None:
        return None
    row = await connection.fetchrow(BY_TOKEN, _hash(token))
    return None if row is None else await _read(connection, row)


async def of_person(connection: Any, person_id: UUID, before: int, limit: int) -> Sequence[Invoice]:
    """Somebody's invoices that were made before the one with the id `before`, newest first."""
    return [await _read(connection, row) for row in await connection.fetch(OF_PERSON, person_id, before, limit)]


async def payments(connection: Any, invoice: Invoice) -> Sequence[InvoicePayment]:
    """What was paid on an invoice, in the order it came."""
    rows = await connection.fetch(PAYMENTS, invoice.id)
    return [InvoicePayment(row["key"], Money(row["amount"], invoice.amount.currency), row["at"]) for row in rows]


async def given_back(connection: Any, invoice: Invoice) -> Money:
    """What of all that was paid on an invoice has gone back to whoever paid it; `paid` counts it still."""
    return Money(await connection.fetchval(GIVEN_BACK, invoice.id), invoice.amount.currency)


async def expect(connection: Any, invoice_id: int, amount: Money, *, is_push: bool) -> Invoice:
    """Lock an invoice of which so much is about to be asked of somebody, by a request on a phone where it `is_push`.

    Raises NotPayable where that is not to be: it is paid or void, the sum is more than its rest or of another currency,
    or another request for it is on a phone.
    """
    invoice = await lock(connection, invoice_id)
    if not invoice.takes_payment:
        raise NotPayable(NOT_PAYABLE)
    if amount.currency != invoice.amount.currency:
        raise NotPayable(OTHER_CURRENCY.filled(currency=invoice.amount.currency))
    if amount > invoice.rest:
        raise NotPayable(TOO_MUCH.filled(rest=invoice.rest.said()))
    if is_push and await connection.fetchval(ASKED, invoice_id, PUSH_WITHIN):
        raise NotPayable(UNDER_WAY)
    return invoice


async def pay(connection: Any, invoice_id: int, key: str, amount: Money) -> Invoice:
    """Count what has come against an invoice, once for each key, in the caller's transaction; as it is then.

    Whoever posts the entry with this key to the issuer's wallet calls it before that. It counts in every state: what
    is void or disputed stays so. Raises Unknown, KeyReused, or IllegalEntry for another currency.
    """
    check_key(key)
    invoice = await lock(connection, invoice_id)
    if amount.currency != invoice.amount.currency or amount.minor <= 0:
        raise IllegalEntry("A payment is a positive amount in the currency of its invoice.")
    if (earlier := await connection.fetchrow(PAYMENT, key)) is not None:
        if (earlier["invoice_id"], earlier["amount"]) != (invoice_id, amount.minor):
            raise KeyReused("The key was used for another payment.")
        return invoice
    paid = invoice.paid + amount
    state = invoice.state
    if state in OPEN:
        state = "paid" if paid >= invoice.amount else "overdue" if state == "overdue" else "part_paid"
    await connection.execute(PAY, key, invoice_id, amount.minor)
    await connection.execute(PAID, invoice_id, paid.minor, state)
    return await find(connection, invoice_id)


async def mark_sent(connection: Any, invoice_id: int) -> Invoice:
    """A draft has gone to its client; what was paid or made void before stays as it is. Raises Unknown."""
    invoice = await lock(connection, invoice_id)
    if invoice.state != "draft":
        return invoice
    return await _moved(connection, invoice_id, "sent")


async def mark_overdue(connection: Any, invoice_id: int) -> Invoice:
    """Its day is over and it is not paid; what is paid, void or disputed stays as it is. Raises Unknown."""
    invoice = await lock(connection, invoice_id)
    if invoice.state not in OPEN or invoice.state == "overdue":
        return invoice
    return await _moved(connection, invoice_id, "overdue")


async def void(connection: Any, invoice_id: int) -> Invoice:
    """Take an invoice back, on which nothing was paid and nothing is being paid.

    Raises UserError where that is not so, and Unknown.
    """
    invoice = await lock(connection, invoice_id)
    if invoice.state == "void":
        raise UserError(IS_VOID.filled(number=invoice.number))
    if invoice.paid.minor:
        raise UserError(VOID_PAID.filled(number=invoice.number, paid=invoice.paid.said()))
    if await connection.fetchval(ASKED, invoice_id, PUSH_WITHIN):
        raise UserError(VOID_UNDER_WAY.filled(number=invoice.number))
    return await _moved(connection, invoice_id, "void")


async def claim(connection: Any, invoice_id: int, lease: timedelta) -> int | None:
    """Lease one that is due to be looked at: the attempt that settles it; None where it is not, or in other hands."""
    attempt: int | None = await connection.fetchval(CLAIM, invoice_id, lease)
    return attempt


async def settle(connection: Any, invoice_id: int, attempt: int, due_at: datetime | None, *, reminded: bool) -> bool:
    """It was looked at, in the caller's transaction, and will be again at `due_at`; False where the claim was lost."""
    return await connection.fetchval(SETTLE, invoice_id, attempt, due_at, int(reminded)) is not None


async def resend(connection: Any, invoice_id: int, key: str, by: str) -> Invoice:
    """Have an invoice sent to its client once more, in the caller's transaction; the same key asks once.

    The worker sends it; wake "invoice" then. Raises UserError for one that takes no payment or goes nowhere,
    LimitReached where it was sent again RESENDS_DAY_MAX times within a day, and Unknown.
    """
    check_key(key)
    invoice = await lock(connection, invoice_id)
    if await connection.fetchval(RESENT_BY_KEY, key, invoice_id):
        return invoice
    if not invoice.takes_payment:
        raise UserError(NOT_OPEN.filled(number=invoice.number))
    if invoice.to == NOWHERE or invoice.words is None:
        raise UserError(NOWHERE_TO.filled(number=invoice.number))
    if await connection.fetchval(RESENT_LATELY, invoice_id, timedelta(days=1)) >= RESENDS_DAY_MAX:
        raise LimitReached(OFTEN.filled(number=invoice.number, count=RESENDS_DAY_MAX))
    await connection.execute(RESEND, key, invoice_id, by)
    return invoice


async def to_resend(connection: Any, invoice_id: int) -> int | None:
    """Take up what was asked to be sent again, in the transaction that sends it: its newest id; None for nothing."""
    return max((row["id"] for row in await connection.fetch(TO_RESEND, invoice_id)), default=None)


async def resends(connection: Any, invoice: Invoice, limit: int) -> Sequence[Any]:
    """When an invoice was asked to be sent again: at, by, sent_at; the newest first."""
    rows: Sequence[Any] = await connection.fetch(RESENDS, invoice.id, limit)
    return rows


async def repeat(
    connection: Any, key: str, issuer: UUID, conversation_id: UUID, amount: Money, words: Words, *, rrule: str,
    wall_time: datetime, zone: str, due_at: datetime, due_days: int | None = None, to: Places = NOWHERE,
) -> Series:  # fmt: skip
    """Make a series whose first invoice is due at `due_at`; the same key again is the same series.

    Raises Erased for an issuer who has been.
    """
    check_key(key)
    await connection.execute(HOLD_KEY, key)
    row = await connection.fetchrow(SERIES_BY_KEY, key)
    if row is None:
        room = await connection.keys.of(connection, conversation_id)
        sealed = room.seal(_as_series(key), orjson.dumps(asdict(words)))
        made = await connection.fetchval(
            SERIES_MAKE, key, issuer, conversation_id, to.mail, to.whatsapp, amount.currency, amount.minor, due_days,
            rrule, wall_time, zone, sealed, due_at,
        )  # fmt: skip
        if made is None:
            raise Erased
        row = await connection.fetchrow(SERIES_BY_KEY, key)
    return await _read_series(connection, row)


async def lock_due(connection: Any, series_id: int, now: datetime) -> Series | None:
    """Lock a series of which an invoice is due; None where there is none, or somebody else has it."""
    row = await connection.fetchrow(SERIES_LOCK, series_id, now)
    return None if row is None else await _read_series(connection, row)


async def move_on(connection: Any, series_id: int, wall_time: datetime | None, due_at: datetime | None) -> None:
    """The next occurrence of a series, or its end where there is none."""
    await connection.execute(SERIES_NEXT, series_id, wall_time, due_at)


async def series_of(connection: Any, person_id: UUID, limit: int) -> Sequence[Series]:
    """Somebody's series that go on, oldest first."""
    return [await _read_series(connection, row) for row in await connection.fetch(SERIES_OF, person_id, limit)]


async def all_series(connection: Any, person_id: UUID, before: int, limit: int) -> Sequence[Series]:
    """Somebody's series, ended ones too, that were made before the one with the id `before`, newest first."""
    rows = await connection.fetch(SERIES_ALL, person_id, before, limit)
    return [await _read_series(connection, row) for row in rows]


async def end_series(connection: Any, series_id: int) -> None:
    """Let a series come round no more; its invoices stay as they are."""
    await connection.execute(SERIES_END, series_id)


async def _read_series(connection: Any, row: Any) -> Series:
    words = None
    if row["sealed"] is not None:
        value = row["conversation_id"], _as_series(row["key"]), row["sealed"]
        [opened] = await connection.keys.opened(connection, [value])
        words = None if opened is None else Words(**orjson.loads(opened))
    return Series(
        row["id"], row["key"], row["person_id"], row["conversation_id"], Money(row["amount"], row["currency"]), words,
        Places(row["mail_to"], row["whatsapp_to"]), row["due_days"], row["rrule"], row["wall_time"], row["zone"],
        row["due_at"],
    )  # fmt: skip


def _as_series(key: str) -> bytes:
    """What is written on the invoices of a series is sealed as this."""
    return b"invoice series\0" + key.encode()


async def _moved(connection: Any, invoice_id: int, state: str) -> Invoice:
    """The invoice in another state; PostgreSQL refuses what does not follow."""
    await connection.execute(MOVE, invoice_id, state)
    return await find(connection, invoice_id)


async def lock(connection: Any, invoice_id: int) -> Invoice:
    """Lock an invoice until the caller commits; raises Unknown."""
    return await _found(connection, await connection.fetchrow(LOCK, invoice_id))


async def _found(connection: Any, row: Any) -> Invoice:
    if row is None:
        raise Unknown("There is no such invoice.")
    return await _read(connection, row)


async def _read(connection: Any, row: Any) -> Invoice:
    currency = row["currency"]
    words, token = None, None
    if row["sealed"] is not None:
        value = row["conversation_id"], _as_words(row["number"]), row["sealed"]
        [opened] = await connection.keys.opened(connection, [value])
        if opened is not None:
            written = orjson.loads(opened)
            token = written.pop("token")
            words = Words(**written)
    return Invoice(
        row["id"], row["number"], row["person_id"], row["conversation_id"], row["state"],
        Money(row["amount"], currency), Money(row["paid"], currency), row["issued_on"], row["due_on"],
        row["created_at"], words, token, Places(row["mail_to"], row["whatsapp_to"]), row["series_id"], row["reminded"],
        tuple(
            Outside(id_, Money(minor, currency), how, date.fromisoformat(on), by, datetime.fromisoformat(at))
            for id_, minor, how, on, by, at in orjson.loads(row["outside"] or "[]")
        ),
    )  # fmt: skip


def _as_words(number: str) -> bytes:
    """What is written on an invoice is sealed as this."""
    return b"invoice\0" + number.encode()


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
