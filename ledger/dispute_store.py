"""Disputes in the database: opened, frozen and decided in the caller's transaction, each step once.

A step is taken under the lock of the dispute's row; PostgreSQL refuses one that does not follow.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from core import codes
from core.errors import Conflict, LimitReached, UserError
from core.language import Saying, day
from ledger.accounts import disputed, held_at, receivable, wallet
from ledger.disputes import Act, Stage
from ledger.errors import KeyReused, Unknown
from ledger.instruction_store import PROVIDER, owner_now, payment_to_us, refund, still
from ledger.journal import Account, Entry, Kind, Posting, check_key, credit, debit
from ledger.money import Money
from ledger.posting import LOCK as LOCK_ACCOUNTS
from ledger.posting import make, post

LISTED_MAX = 200
COMPLAINTS_DAY_MAX = 3
"""Disputes that one person opens within a day."""
WORDS_CHARS_MAX = 500
"""Of what whoever opens one says about it."""
DISPUTED_WITHIN = timedelta(days=120)
"""How long after it was paid a payment from wallet to wallet can be disputed."""
LOOKED_AT_MAX = 500
"""Of somebody's newest payments, when one is looked for."""
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
THEIR_OWN = Saying(
    "That payment went into an account of theirs at the payment provider, of which we hold nothing. Ask whoever sent"
    " the invoice.",
    "Malipo hayo yalienda kwenye akaunti yao wenyewe kwa kampuni ya malipo, ambayo hatuishikilii. Muulize aliyetuma"
    " ankara.",
)
SECOND = Saying(
    "You proposed it, so somebody else has to approve it.",
    "Wewe ndiye uliyependekeza, kwa hiyo mtu mwingine lazima akubali.",
)
ALREADY = Saying(
    "That payment is disputed already, as {reference}. I write to you when something about it changes.",
    "Malipo hayo tayari yanabishaniwa, kama {reference}. Nitakuandikia jambo likibadilika.",
)
ALREADY_SO = Saying(
    "That payment is disputed or was given back already.", "Malipo hayo tayari yanabishaniwa au yalisharudishwa."
)
WAS_DECIDED = Saying(
    "You disputed that payment before, as {reference}, and that was decided.",
    "Ulishabishania malipo hayo, kama {reference}, na uamuzi ulishatolewa.",
)
TOO_MANY = Saying(
    "You have opened {count} disputes within a day, which is as many as I take. Come back tomorrow.",
    "Umefungua migogoro {count} ndani ya siku moja, kiwango cha juu. Rudi kesho.",
)
TAKEN_BACK = Saying("That payment was taken back already.", "Malipo hayo yalisharudishwa.")
ON = Saying("of {day}", "ya tarehe {day}")
YOURS_FROZEN = Saying(
    "Your dispute {dispute}: {frozen} of {amount} are kept back where they went, until it is decided.",
    "Mgogoro wako {dispute}: {frozen} kati ya {amount} zimeshikwa zilikoenda, hadi uamuzi.",
)
YOURS_ON_ITS_WAY = Saying(
    "Your dispute {dispute} was decided for you: {frozen} are on their way back to the number that paid.",
    "Mgogoro wako {dispute} umeamuliwa upande wako: {frozen} ziko njiani kurudi kwa namba iliyolipa.",
)
YOURS_BACK = Saying(
    "Your dispute {dispute} was decided for you: {frozen} are back where you paid from.",
    "Mgogoro wako {dispute} umeamuliwa upande wako: {frozen} zimerudi ulikolipia.",
)
YOURS_NOT_YET = Saying(
    "Your dispute {dispute}: the {frozen} could not be sent back yet. They stay kept back, and somebody looks at it.",
    "Mgogoro wako {dispute}: {frozen} bado hazijaweza kurudishwa. Zimebaki zimeshikwa, na kuna anayeangalia.",
)
YOURS_NOT = Saying(
    "Your dispute {dispute} over {amount} was decided: the money stays with whoever it was paid to.",
    "Mgogoro wako {dispute} wa {amount} umeamuliwa: pesa zinabaki kwa aliyelipwa.",
)
YOURS_LOST = Saying(
    "Your dispute {dispute} is over: the payment provider has given {amount} back.",
    "Mgogoro wako {dispute} umekwisha: kampuni ya malipo imerudisha {amount}.",
)
YOURS_TAKEN_OVER = Saying(
    "The payment provider is looking at the payment of your dispute too. It goes on as {dispute}.",
    "Kampuni ya malipo pia inaangalia malipo ya mgogoro wako. Sasa unaendelea kama {dispute}.",
)
NO_MORE = Saying("At most {left} of it can still be disputed.", "Kinachoweza kubishaniwa bado ni {left}, si zaidi.")


_READ = """
SELECT d.id, d.reference, d.state, d.currency, d.amount, d.frozen, d.owed, d.line_id, d.opened_by, d.created_at,
       d.closed_at, d.entry_id, d.said_by, d.told_in, d.words, i.reference AS payment,
       coalesce(i.owner, t.payee) AS owner, t.payer, (t.at AT TIME ZONE coalesce(p.timezone, 'UTC'))::date AS moved_on,
       p.id AS person_id, p.language, s.language AS payers_language,
       coalesce(i.conversation_id, CASE WHEN d.entry_id IS NOT NULL THEN (
           SELECT c.id FROM identity n JOIN conversation c ON (c.channel, c.account, c.room)
                                                            = (n.channel, n.account, n.provider_id)
           WHERE n.person_id = p.id OR n.person_id IN (SELECT m.id FROM person m WHERE m.merged_into = p.id)
           ORDER BY n.channel <> 'whatsapp', n.created_at, n.id LIMIT 1) END) AS conversation_id
FROM dispute d LEFT JOIN payment_instruction i ON i.id = d.instruction_id
LEFT JOIN LATERAL (
    SELECT e.at, max(a.owner) FILTER (WHERE o.amount < 0 AND a.key LIKE 'wallet:%') AS payee,
           max(a.owner) FILTER (WHERE o.amount > 0) AS payer
    FROM journal_entry e JOIN posting o ON o.entry_id = e.id JOIN account a ON a.id = o.account_id
    WHERE e.id = d.entry_id GROUP BY e.at
) t ON true
LEFT JOIN person first ON first.id = t.payee::uuid
JOIN person p ON p.id = coalesce(i.person_id, first.merged_into, first.id)
LEFT JOIN person s ON s.id = d.said_by
"""
"""Of a payment from wallet to wallet, whom it was paid to is read in its entry, and is told in a chat of theirs."""
BY_REFERENCE = f"{_READ} WHERE d.reference = $1"
BY_KEY = f"{_READ} WHERE d.key = $1"
OF_ENTRY = f"{_READ} WHERE d.entry_id = $1 ORDER BY d.id LIMIT $2"
OF_PAYMENT = f"{_READ} WHERE i.reference = $1 ORDER BY d.id LIMIT $2"
WAITING = f"{_READ} WHERE d.closed_at IS NULL ORDER BY d.id LIMIT $1"
OVER = f"{_READ} WHERE d.closed_at IS NOT NULL ORDER BY d.id DESC LIMIT $1"
LOCK = "SELECT id FROM dispute WHERE reference = $1 FOR NO KEY UPDATE"
ADD = """
WITH made AS (
    INSERT INTO dispute (reference, key, instruction_id, currency, amount, line_id, opened_by, entry_id, said_by,
                         told_in, words)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $9, $10, $11, $12) RETURNING id
)
INSERT INTO dispute_event (dispute_id, to_state, amount, actor, reason) SELECT id, 'open', $5, $7, $8 FROM made
RETURNING dispute_id
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
THEIRS = """
SELECT reference, closed_at FROM dispute
WHERE (instruction_id = $2 OR entry_id = $3)
  AND said_by IN (SELECT id FROM person WHERE id = $1 OR merged_into = $1) ORDER BY id DESC LIMIT 1
"""
LATELY = """
SELECT count(*) FROM dispute
WHERE said_by IN (SELECT id FROM person WHERE id = $1 OR merged_into = $1)
  AND created_at > clock_timestamp() - interval '1 day'
"""
MOVED = """
SELECT e.id, payee.currency, -payee.amount AS amount FROM journal_entry e
CROSS JOIN LATERAL (SELECT o.amount, o.currency FROM posting o JOIN account a ON a.id = o.account_id
                    WHERE o.entry_id = e.id AND o.amount < 0 AND a.key LIKE 'wallet:%') payee
WHERE e.id = $1 AND e.kind = 'TRANSFER' AND e.settles IS NOT NULL
"""
"""A payment from wallet to wallet; what is moved because two persons are one settles no hold."""
SENT_BY = """
SELECT e.id, e.at, payee.currency, -payee.amount AS amount,
       (SELECT regexp_replace(n.provider_id, '^(whatsapp:)?[+]?', '')
        FROM identity n JOIN person o ON o.id = n.person_id
        WHERE n.channel = 'whatsapp' AND payee.owner::uuid IN (o.id, o.merged_into)
        ORDER BY n.created_at, n.id LIMIT 1) AS number
FROM (SELECT id::text AS owner FROM person WHERE id = $1 OR merged_into = $1) me
JOIN account mine ON mine.owner = me.owner AND mine.key LIKE 'wallet:%'
JOIN posting given ON given.account_id = mine.id AND given.amount > 0 AND given.at > clock_timestamp() - $2::interval
JOIN journal_entry e ON e.id = given.entry_id AND e.kind = 'TRANSFER' AND e.settles IS NOT NULL
CROSS JOIN LATERAL (SELECT a.owner, o.amount, o.currency FROM posting o JOIN account a ON a.id = o.account_id
                    WHERE o.entry_id = e.id AND o.amount < 0 AND a.key LIKE 'wallet:%') payee
ORDER BY given.at DESC, e.id DESC LIMIT $3
"""
REVERSED = "SELECT EXISTS (SELECT FROM journal_entry WHERE reverses = $1)"
UNDECIDED_OF = """
SELECT reference FROM dispute WHERE instruction_id = $1 AND line_id IS NULL AND state IN ('open', 'frozen')
ORDER BY said_by IS NULL, id LIMIT 1
"""
REFERENCE_OF = "SELECT reference FROM dispute WHERE id = $1"
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
    """One dispute, of a `payment` to us or of an entry from wallet to wallet (`entry_id`, paid by `payer`).

    The person is whom it was paid to.

    `frozen` is kept back of the disputed `amount`; `owed` had been spent when the money was lost; `line_id` is the
    provider's chargeback, where there is one. `said_by` disputed it, and is told in `told_in`.
    """

    id: int
    reference: str
    state: Stage
    amount: Money
    frozen: Money
    owed: Money
    payment: str | None
    owner: str
    person_id: UUID
    conversation_id: UUID | None
    language: str
    line_id: str | None
    opened_by: str
    created_at: datetime
    closed_at: datetime | None
    entry_id: int | None = None
    payer: str | None = None
    moved_on: date | None = None
    """The day of the entry, by the clock of whom it was paid to."""
    said_by: UUID | None = None
    told_in: UUID | None = None
    payers_language: str | None = None
    words: bytes | None = None
    """What whoever disputed it said about it, sealed: `words_of`."""

    @property
    def called(self) -> Saying:
        """The payment as whom it was paid to knows it."""
        if self.moved_on is not None:
            return ON.filled(day=day(self.moved_on, 0))
        return Saying(*2 * (self.payment or "",))


@dataclass(frozen=True, slots=True)
class Opening:
    """A dispute that is to be opened, by staff or on the word of the provider's list (`line_id`)."""

    key: str
    payment: str
    amount: Money
    by: str
    reason: str
    line_id: str | None = None


@dataclass(frozen=True, slots=True)
class Complaint:
    """What whoever paid says is not right: a `payment` to us, or an entry from their wallet to another one.

    `by` is who they are now, locked by the caller, who has made sure that it is theirs; `told_in` is their chat.
    """

    key: str
    by: UUID
    told_in: UUID
    words: str
    payment: str | None = None
    entry_id: int | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """A payment from somebody's wallet into the one of whoever writes from this number, 2547…; empty where nobody does
    any more."""

    entry_id: int
    at: datetime
    amount: Money
    number: str


@dataclass(frozen=True, slots=True)
class Notice:
    """What somebody is told of a dispute, and in which chat."""

    conversation_id: UUID
    language: str
    says: Saying
    to: str
    """Whom: "payee" or "payer"; what tells several notices of one step apart."""


async def open_(connection: Any, asked: Opening) -> Dispute:
    """Open a dispute in the caller's transaction, and freeze what is there; the same key is the same dispute.

    A chargeback takes over what was not decided yet about its payment: that ends, and what its payer said goes with it.
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
    before = await _undecided(connection, row["id"]) if asked.line_id is not None else None
    left = Money(await still(connection, row["id"], before.id if before else None), row["currency"])
    if asked.amount.currency != left.currency or not 0 < asked.amount.minor <= left.minor:
        raise UserError(NO_MORE.filled(left=left.said()))
    reference = codes.grouped(codes.new_code(secrets.choice))
    said_by = told_in = words = None
    if before is not None:
        before = await release(connection, before.reference, asked.by, f"goes on as {reference}: {asked.reason}")
        if before.said_by is not None and before.told_in is not None:
            said_by, told_in = before.said_by, before.told_in
            said = await words_of(connection, before)
            words = None if said is None else await _sealed(connection, told_in, reference, said)
    await connection.execute(
        ADD, reference, asked.key, row["id"], row["currency"], asked.amount.minor, asked.line_id, asked.by,
        asked.reason, None, said_by, told_in, words,
    )  # fmt: skip
    made = await _locked(connection, reference)
    return await _freeze(connection, made, asked.by, "")


async def complain(connection: Any, asked: Complaint) -> Dispute:
    """Open a dispute by the word of whoever paid, which freezes nothing, in the caller's transaction.

    The same key is the same dispute. It is about all that was neither given back nor disputed of the payment. Raises
    UserError where there is nothing of it to be disputed, LimitReached, and Unknown.
    """
    check_key(asked.key)
    if (found := await connection.fetchrow(BY_KEY, asked.key)) is not None:
        return _dispute(found)
    instruction_id, amount = await disputable(connection, asked.by, asked.payment, asked.entry_id)
    reference = codes.grouped(codes.new_code(secrets.choice))
    words = await _sealed(connection, asked.told_in, reference, asked.words)
    await connection.execute(
        ADD, reference, asked.key, instruction_id, amount.currency, amount.minor, None, f"person:{asked.by}", "",
        asked.entry_id, asked.by, asked.told_in, words,
    )  # fmt: skip
    return await find(connection, reference)


async def disputable(
    connection: Any, by: UUID, payment: str | None, entry_id: int | None
) -> tuple[int | None, Money]:  # fmt: skip
    """What of a payment to us, or of an entry from wallet to wallet, whoever paid it may dispute; the id of the former.

    Raises UserError where there is nothing, LimitReached, and Unknown.
    """
    instruction_id = None
    if payment is not None:
        row = await payment_to_us(connection, payment)
        if row["account"] is not None:
            raise UserError(THEIR_OWN)
        instruction_id, amount = row["id"], Money(await still(connection, row["id"]), row["currency"])
    else:
        row = await connection.fetchrow(MOVED, entry_id)
        if row is None:
            raise Unknown("There is no such payment.")
        if await connection.fetchval(REVERSED, entry_id):
            raise UserError(TAKEN_BACK)
        amount = Money(row["amount"], row["currency"])
    earlier = await connection.fetchrow(THEIRS, by, instruction_id, entry_id)
    if earlier is not None:
        says = ALREADY if earlier["closed_at"] is None else WAS_DECIDED
        raise UserError(says.filled(reference=earlier["reference"]))
    if not amount.minor:
        raise UserError(ALREADY_SO)
    if await connection.fetchval(LATELY, by) >= COMPLAINTS_DAY_MAX:
        raise LimitReached(TOO_MANY.filled(count=COMPLAINTS_DAY_MAX))
    return instruction_id, amount


async def sent_by(connection: Any, by: UUID) -> list[Sent]:
    """What somebody paid from their wallet into other ones within DISPUTED_WITHIN, the newest first."""
    rows = await connection.fetch(SENT_BY, by, DISPUTED_WITHIN, LOOKED_AT_MAX)
    return [Sent(row["id"], row["at"], Money(row["amount"], row["currency"]), row["number"] or "") for row in rows]


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

    What they paid from their wallet here goes back into it, at once.

    Raises Conflict where nothing is frozen, or that is not the next step.
    """
    of = await _locked(connection, reference, Stage.FROZEN)
    if of.line_id is not None:
        raise Conflict("The provider has taken this money back already: book it as lost.")
    if of.payment is None:
        return await _into_wallet(connection, of, by, reason)
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

    None where there is nothing to tell, and of a refund by the provider, which tells its end itself.
    """
    known: dict[str, Saying | str | int] = {"reference": of.called, "amount": of.amount.said()}
    if of.said_by is not None and before is not None and not of.frozen.minor and of.state is Stage.RELEASED:
        return None  # They were never told that somebody complained.
    match of.state:
        case Stage.OPEN | Stage.FROZEN if before is None and of.frozen.minor:
            return OPENED.filled(frozen=of.frozen.said(), **known)
        case Stage.OPEN | Stage.FROZEN if before is None:
            return OPENED_SPENT.filled(**known)
        case Stage.FROZEN if of.said_by is not None and not (before and before.minor) and of.frozen.minor:
            return OPENED.filled(frozen=of.frozen.said(), **known)
        case Stage.FROZEN if before != of.frozen:
            return MORE.filled(frozen=of.frozen.said(), **known)
        case Stage.RELEASED if of.frozen.minor:
            return BACK.filled(frozen=of.frozen.said(), **known)
        case Stage.RELEASED:
            return SETTLED.filled(**known)
        case Stage.REFUNDED if of.entry_id is not None:
            return GONE.filled(reference=of.called, amount=of.frozen.said())
        case Stage.LOST if of.owed.minor:
            return GONE_OWED.filled(owed=of.owed.said(), **known)
        case Stage.LOST:
            return GONE.filled(**known)
        case _:
            return None


def told_payer(before: Money | None, of: Dispute) -> Saying | None:
    """What whoever disputed it is told of a step that left it so; `before` as for `told`, None where a chargeback took
    it over. None of what they did themselves."""
    known: dict[str, Saying | str | int] = {
        "dispute": of.reference, "amount": of.amount.said(), "frozen": of.frozen.said()
    }  # fmt: skip
    match of.state:
        case _ if before is None:
            return YOURS_TAKEN_OVER.filled(**known) if of.line_id is not None else None
        case Stage.FROZEN if before != of.frozen:
            return YOURS_FROZEN.filled(**known)
        case Stage.REFUNDING:
            return YOURS_ON_ITS_WAY.filled(**known)
        case Stage.REFUNDED:
            return YOURS_BACK.filled(**known)
        case Stage.RELEASED:
            return YOURS_NOT.filled(**known)
        case Stage.LOST:
            return YOURS_LOST.filled(**known)
        case _:
            return None


def notices(before: Money | None, of: Dispute) -> list[Notice]:
    """Everything that is told of a step that left it so."""
    found = []
    if of.conversation_id is not None and (says := told(before, of)) is not None:
        found.append(Notice(of.conversation_id, of.language, says, "payee"))
    if of.told_in is not None and (says := told_payer(before, of)) is not None:
        found.append(Notice(of.told_in, of.payers_language or of.language, says, "payer"))
    return found


async def notices_of_refund(connection: Any, dispute_id: int) -> list[Notice]:
    """What whoever disputed it is told once the provider's refund of it has come to its end."""
    of = await find(connection, await connection.fetchval(REFERENCE_OF, dispute_id))
    if of.told_in is None or of.state not in (Stage.REFUNDED, Stage.FROZEN):
        return []
    says = YOURS_BACK if of.state is Stage.REFUNDED else YOURS_NOT_YET
    filled = says.filled(dispute=of.reference, frozen=of.frozen.said())
    return [Notice(of.told_in, of.payers_language or of.language, filled, "payer")]


async def words_of(connection: Any, of: Dispute) -> str | None:
    """What whoever disputed it said about it; None where nobody did, and where they were erased."""
    if of.told_in is None:
        return None
    [opened] = await connection.keys.opened(connection, [(of.told_in, _as_words(of.reference), of.words)])
    return None if opened is None else opened.decode()


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


async def of_entry(connection: Any, entry_id: int) -> list[Dispute]:
    """The disputes of a payment from wallet to wallet, the oldest first."""
    return [_dispute(row) for row in await connection.fetch(OF_ENTRY, entry_id, LISTED_MAX)]


async def events(connection: Any, of: Dispute) -> Sequence[Any]:
    """Its timeline: at, from_state, to_state, amount in minor units, actor, reason; at most LISTED_MAX."""
    rows: Sequence[Any] = await connection.fetch(EVENTS, of.id, LISTED_MAX)
    return rows


async def _undecided(connection: Any, payment_id: int) -> Dispute | None:
    """What is open or frozen about a payment and no chargeback, locked; what its payer opened first."""
    reference = await connection.fetchval(UNDECIDED_OF, payment_id)
    return None if reference is None else await _locked(connection, reference)


async def _sealed(connection: Any, conversation_id: UUID, reference: str, words: str) -> bytes:
    room = await connection.keys.of(connection, conversation_id)
    sealed: bytes = room.seal(_as_words(reference), words.encode())
    return sealed


def _as_words(reference: str) -> bytes:
    """What somebody says about a payment is sealed as this."""
    return b"dispute\0" + reference.encode()


async def _into_wallet(connection: Any, of: Dispute, by: str, reason: str) -> Dispute:
    """Give what is frozen of a payment from wallet to wallet back to whoever paid."""
    whose = wallet(await owner_now(connection, of.payer or ""), of.amount.currency)
    source = await _where_frozen(connection, of, whose)
    legs = debit(source, of.frozen), credit(whose, of.frozen)
    await post(connection, Entry(f"dispute:{of.reference}:refund", Kind.REFUND, legs, of.reference))
    now = await _step(connection, of, Stage.REFUNDING, by, reason, moved=of.frozen)
    return await _step(connection, now, Stage.REFUNDED, by, "", moved=of.frozen)


async def _freeze(connection: Any, of: Dispute, by: str, reason: str) -> Dispute:
    if of.entry_id is not None and await connection.fetchval(REVERSED, of.entry_id):
        raise Conflict("That payment was reversed, so there is nothing to freeze.")
    await connection.execute(MARK, of.payment)
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
        row["entry_id"], row["payer"], row["moved_on"], row["said_by"], row["told_in"], row["payers_language"],
        row["words"],
    )  # fmt: skip
