"""Payments: what needs a person, what does not agree with the provider's list, and how each came to where it is.

Whom a payment goes to is sealed and not shown here; what a person decides is recorded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from markupsafe import Markup

from core import audit
from core.db import Database, driver
from core.errors import Conflict, Erased, UserError
from core.names import names_of
from core.notices import tell
from ledger import dispute_store, disputes, instruction_store, matching_store, payment_switch
from ledger.errors import KeyReused, Unknown
from ledger.instructions import DONE, State
from ledger.money import Money
from web_admin import auth
from web_admin.forms import key_of, line_of, new_key, row_id
from web_admin.rendering import Templates

SHOWN_MAX = 100
KIND = "payment"
NOTE_CHARS_MAX = 500
REFERENCE_CHARS_MAX = 18
RECENT = """
SELECT reference, direction, method, currency, amount, state, created_at FROM payment_instruction
ORDER BY id DESC LIMIT $1
"""
LAST_RUN = """
SELECT finished_at, lines, matched FROM reconciliation_run WHERE finished_at IS NOT NULL ORDER BY id DESC LIMIT 1
"""
EVENTS = """
SELECT at, from_state, to_state, actor, reason, detail FROM payment_event WHERE instruction_id = $1 ORDER BY id
"""
REFUNDED_BEFORE = "SELECT EXISTS (SELECT FROM payment_instruction WHERE key = $1)"
DISPUTED_BEFORE = "SELECT EXISTS (SELECT FROM dispute WHERE key = $1)"
ORIGINAL = """
SELECT b.reference FROM payment_instruction i JOIN payment_instruction b ON b.id = i.refunds WHERE i.id = $1
"""
REFUNDS = """
SELECT reference, currency, amount, state, created_at FROM payment_instruction WHERE refunds = $1 ORDER BY id LIMIT $2
"""
PAYER = """
SELECT now_.id, now_.name FROM person p JOIN person now_ ON now_.id = coalesce(p.merged_into, p.id) WHERE p.id = $1
"""
KINDS: Final[Mapping[str, str]] = {
    "missing_here": "We know nothing of it", "missing_there": "Not in the provider's list", "amount": "Another amount",
    "currency": "Another currency", "fee": "Another fee", "late": "Long after we booked it", "reversed": "Taken back",
    "duplicate": "A second time",
}  # fmt: skip
SENT_BEFORE = "This form was sent before with something else in it. Load the page again."
GONE = (
    "The person it came to has been erased, so nothing can be paid in their name. Give it back in the provider's"
    " dashboard, and book it by hand."
)
ENDED = {"succeeded": True, "failed": False}


@dataclass(frozen=True, slots=True)
class Row:
    """A payment in a list."""

    reference: str
    direction: str
    method: str
    amount: Money
    state: State
    at: datetime
    reason: str = ""

    @property
    def shown(self) -> Mapping[str, str]:
        """Its state in words, and how it looks."""
        return state_of(self.state)


@dataclass(frozen=True, slots=True)
class Open:
    """A finding that nobody has explained."""

    id: int
    what: str
    subject: str
    unexplained: Money | None
    ours: str
    theirs: str
    since: datetime


def state_of(state: State) -> Mapping[str, str]:
    """A state in words, and how it looks."""
    tone = "good" if state in DONE else "bad" if state in (State.FAILED, State.NEEDS_REVIEW) else "wait"
    return {"words": state.value.replace("_", " ").capitalize(), "tone": tone}


class Payments:
    """Reads and renders the pages, and does what staff decide."""

    def __init__(self, db: Database, templates: Templates, alone_max: Money) -> None:
        """`alone_max` is the most that one of the staff gives back, or decides a dispute about, alone."""
        self._db, self._templates, self._alone_max = db, templates, alone_max

    async def page(self, staff: auth.Staff) -> Markup:
        """What needs a person, what does not agree, and the newest payments."""
        async with self._db.hot() as connection:
            review = [
                Row(row["reference"], row["direction"], "", Money(row["amount"], row["currency"]),
                    State.NEEDS_REVIEW, row["at"], row["reason"])
                for row in await instruction_store.waiting_for_review(connection, SHOWN_MAX)
            ]  # fmt: skip
            findings = [_open(row) for row in await matching_store.open_findings(connection, SHOWN_MAX)]
            left = await matching_store.unexplained(connection)
            run = await connection.fetchrow(LAST_RUN)
            stop = await payment_switch.stop_of(connection)
            recent = [
                Row(row["reference"], row["direction"], row["method"], Money(row["amount"], row["currency"]),
                    State(row["state"]), row["created_at"])
                for row in await connection.fetch(RECENT, SHOWN_MAX)
            ]  # fmt: skip
        return self._templates.render(
            "payments.html", section="payments", staff=staff, review=review, findings=findings,
            left=[str(one) for one in left.values()], run=run, recent=recent, stop=stop,
        )  # fmt: skip

    async def one(self, staff: auth.Staff, reference: str) -> Markup:
        """One payment and everything that happened to it. Raises LookupError."""
        async with self._db.hot() as connection:
            of = await instruction_store.find(connection, _text(reference))
            if of is None:
                raise LookupError
            events: Sequence[Any] = await connection.fetch(EVENTS, of.id)
            about = await dispute_store.of_payment(connection, of.reference)
            original = await connection.fetchval(ORIGINAL, of.id)
            refunds = [
                Row(row["reference"], "out", "refund", Money(row["amount"], row["currency"]), State(row["state"]),
                    row["created_at"])
                for row in await connection.fetch(REFUNDS, of.id, SHOWN_MAX)
            ]  # fmt: skip
            left = None if of.is_out or of.state not in DONE else Money(
                await instruction_store.still(connection, of.id), of.amount.currency
            )  # fmt: skip
        steps = [
            {**row, "shown": state_of(State(row["to_state"])), "said": _said(row["detail"])}
            for row in map(dict, events)
        ]
        return self._templates.render(
            "payment.html", section="payments", staff=staff, of=of, shown=state_of(of.state), steps=steps,
            left=left, original=original, refunds=refunds, disputes=[(one, stage_of(one.state)) for one in about],
            key=new_key(),
        )  # fmt: skip

    async def switch(self, staff: auth.Staff, fields: Mapping[str, str]) -> None:
        """Stop payments for everybody, or let them go on. Raises UserError."""
        note, to = _note(fields), fields.get("to", "")
        if to not in ("stop", "go"):
            raise UserError("Say whether payments are to stop or to go on.")
        async with self._db.transaction() as session:
            done = await payment_switch.switch(
                await driver(session), staff.actor, datetime.now(UTC), stopped=to == "stop"
            )
            if done:
                verb = "payments.stopped" if to == "stop" else "payments.let_go_on"
                await audit.record(session, staff.actor, verb, "payment_switch", {"note": note})

    async def resolve(self, staff: auth.Staff, reference: str, fields: Mapping[str, str]) -> None:
        """Book how a payment ended, as a person found out. Raises UserError, and LookupError where it needs none."""
        note, outcome = _note(fields), fields.get("outcome", "")
        if outcome not in ENDED:
            raise UserError("Say whether the payment succeeded or failed.")
        async with self._db.transaction() as session:
            connection = await driver(session)
            try:
                of = await instruction_store.resolve(
                    connection, _text(reference), ENDED[outcome], staff.actor, note
                )  # fmt: skip
            except Conflict as error:
                raise LookupError from error
            if of.dispute_id is not None:
                told = await dispute_store.notices_of_refund(connection, of.dispute_id)
                await _tell(connection, told, f"dispute:{of.reference}:resolved")
            await audit.record(session, staff.actor, "payment.resolved", f"payment:{of.id}", {"outcome": outcome})

    async def refund(self, staff: auth.Staff, reference: str, fields: Mapping[str, str]) -> None:
        """Have a payment to us given back, or some of it; sent twice, a form is one refund. Raises UserError."""
        note, key = _note(fields), f"refund:{staff.actor}:{key_of(fields)}"
        async with self._db.transaction() as session:
            connection = await driver(session)
            amount = await _amount(connection, _text(reference), fields)
            if amount.currency != self._alone_max.currency or amount > self._alone_max:
                raise UserError(
                    f"Above {self._alone_max} two of the staff decide. Open a dispute, which freezes the money, and"
                    " refund it from there."
                )
            again = await connection.fetchval(REFUNDED_BEFORE, key)
            try:
                made = await instruction_store.refund(connection, key, _text(reference), amount, staff.actor, note)
            except Unknown as error:
                raise LookupError from error
            except Erased as error:
                raise UserError(GONE) from error
            except KeyReused as error:
                raise UserError(SENT_BEFORE) from error
            if again:
                return
            detail = {"amount": str(amount), "refund": made.reference}
            await audit.record(session, staff.actor, "payment.refunded", f"payment:{reference}", detail)

    async def dispute(self, staff: auth.Staff, reference: str, fields: Mapping[str, str]) -> str:
        """Open a dispute of a payment to us, which freezes what is there; its reference. Raises UserError."""
        note, key = _note(fields), f"dispute:{staff.actor}:{key_of(fields)}"
        async with self._db.transaction() as session:
            connection = await driver(session)
            amount = await _amount(connection, _text(reference), fields)
            again = await connection.fetchval(DISPUTED_BEFORE, key)
            try:
                made = await dispute_store.open_(
                    connection, dispute_store.Opening(key, _text(reference), amount, staff.actor, note)
                )  # fmt: skip
            except Unknown as error:
                raise LookupError from error
            except KeyReused as error:
                raise UserError(SENT_BEFORE) from error
            if again:
                return made.reference
            await _tell(connection, dispute_store.notices(None, made), f"dispute:{made.reference}:opened")
            detail = {"amount": str(amount), "frozen": str(made.frozen)}
            await audit.record(session, staff.actor, "dispute.opened", f"dispute:{made.reference}", detail)
        return made.reference

    async def disputes(self, staff: auth.Staff) -> Markup:
        """Disputes that are not decided, and the newest that are."""
        async with self._db.hot() as connection:
            waiting = await dispute_store.waiting(connection)
            over = await dispute_store.over(connection, SHOWN_MAX)
        lists = [[(one, stage_of(one.state)) for one in some] for some in (waiting, over)]
        return self._templates.render("disputes.html", section="payments", staff=staff, waiting=lists[0], over=lists[1])

    async def one_dispute(self, staff: auth.Staff, reference: str) -> Markup:
        """One dispute, its way, and what can be decided. Raises LookupError."""
        async with self._db.hot() as connection:
            try:
                of = await dispute_store.find(connection, _text(reference))
            except Unknown as error:
                raise LookupError from error
            events = await dispute_store.events(connection, of)
            words = await dispute_store.words_of(connection, of)
            payer = await _payer(connection, of)
        currency = of.amount.currency
        steps = [
            {**row, "shown": stage_of(row["to_state"]), "moved": Money(row["amount"], currency)}
            for row in map(dict, events)
        ]
        acts = [act.value for act in disputes.Act if dispute_store.may(act, of)]
        proposed = steps[-1] if steps and steps[-1]["to_state"].endswith(dispute_store.PROPOSED) else None
        return self._templates.render(
            "dispute.html", section="payments", staff=staff, of=of, shown=stage_of(of.state), steps=steps,
            acts=acts, missing=of.amount - of.frozen, alone_max=self._alone_max, proposed=proposed,
            words=words, payer=payer,
        )  # fmt: skip

    async def decide(self, staff: auth.Staff, reference: str, act: str, fields: Mapping[str, str]) -> None:
        """Take a dispute a step on, or propose it. Raises UserError, also where somebody was faster; LookupError."""
        note = _note(fields)
        if act not in list(disputes.Act):
            raise LookupError
        async with self._db.transaction() as session:
            connection = await driver(session)
            try:
                before = (await dispute_store.find(connection, _text(reference))).frozen
                of, done = await dispute_store.decide(
                    connection, disputes.Act(act), _text(reference), staff.actor, note, self._alone_max
                )
            except Unknown as error:
                raise LookupError from error
            except Conflict as error:
                raise UserError(str(error)) from error
            except Erased as error:
                raise UserError(GONE) from error
            if done:
                sent = f"dispute:{of.reference}:{of.state}:{of.frozen.minor}"
                await _tell(connection, dispute_store.notices(before, of), sent)
            detail = {"frozen": str(of.frozen), "owed": str(of.owed)}
            verb = f"dispute.{act}" if done else f"dispute.{act}{dispute_store.PROPOSED}"
            await audit.record(session, staff.actor, verb, f"dispute:{reference}", detail)

    async def explain(self, staff: auth.Staff, finding: str, fields: Mapping[str, str]) -> None:
        """End a finding with what a person found out. Raises UserError, and LookupError where none is open."""
        number, note = row_id(finding), _note(fields)
        async with self._db.transaction() as session:
            try:
                await matching_store.explain(await driver(session), number, staff.actor, note)
            except Conflict as error:
                raise LookupError from error
            await audit.record(session, staff.actor, "finding.explained", f"finding:{number}")


def stage_of(stage: str) -> Mapping[str, str]:
    """A dispute's state, or what was proposed, in words, and how it looks."""
    tone = "bad" if stage == disputes.Stage.LOST else "good" if stage in disputes.CLOSED else "wait"
    return {"words": stage.replace("_", " ").capitalize(), "tone": tone}


async def _payer(connection: Any, of: dispute_store.Dispute) -> Mapping[str, Any] | None:
    """Who paid and disputes it: their id and name."""
    row = await connection.fetchrow(PAYER, of.said_by)
    return None if row is None else {"id": row["id"], "name": (await names_of(connection)).open(row["name"])}


async def _tell(connection: Any, notices: Sequence[dispute_store.Notice], key: str) -> None:
    for one in notices:
        await tell(connection, one.conversation_id, one.language, one.says, KIND, f"{key}:{one.to}")


async def _amount(connection: Any, reference: str, fields: Mapping[str, str]) -> Money:
    """The amount that was typed, in the payment's currency. Raises UserError and LookupError."""
    of = await instruction_store.find(connection, reference)
    if of is None:
        raise LookupError
    return Money.parse(fields.get("amount", ""), of.amount.currency)


def _open(row: Any) -> Open:
    unexplained = None if row["unexplained"] is None else Money(row["unexplained"], row["currency"])
    return Open(
        row["id"], KINDS[row["kind"]], row["subject"], unexplained, row["ours"], row["theirs"], row["first_seen_at"]
    )


def _note(fields: Mapping[str, str]) -> str:
    return line_of(fields, "note", "Write how you know", NOTE_CHARS_MAX)


def _text(reference: str) -> str:
    """A reference that the database can be asked for. Raises LookupError."""
    if not reference.isprintable() or len(reference) > REFERENCE_CHARS_MAX:
        raise LookupError
    return reference


def _said(detail: Mapping[str, str] | None) -> str:
    return ", ".join(f"{name} {value}" for name, value in (detail or {}).items() if value)
