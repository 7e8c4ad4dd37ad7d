"""The books: accounts and their statements, the journal, an entry with all its legs, and what is kept back.

Whose an account is, is told by an opaque key that leads to the person's page; nothing a person wrote is here.
"""

import csv
import io
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, Self
from zoneinfo import ZoneInfo

from aiohttp import hdrs, web
from markupsafe import Markup

from core import audit
from core.db import Database, driver
from core.errors import UserError
from core.money import DECIMALS
from ledger import export
from ledger.accounts import as_account
from ledger.balances import balance_at
from ledger.journal import KEY_CHARS_MAX, AccountType, Kind
from ledger.money import Money
from web_admin import auth
from web_admin.forms import day_of, new_key, row_id
from web_admin.paging import NEWEST, PAGE, before_of, paged
from web_admin.rendering import Templates

CSV_LINES_MAX = 100_000
"""Lines of one account's statement as CSV; more are asked for in shorter spans."""
HOLD_STATES: Final = ("open", "posted", "voided", "expired")
HOLD_TONES: Final[Mapping[str, str]] = {"open": "wait", "posted": "good", "voided": "plain", "expired": "plain"}
KINDS: Final[Mapping[str, str]] = {kind.value: kind.value.replace("_", " ").capitalize() for kind in Kind}
TYPES: Final[Mapping[str, str]] = {
    "ASSET": "Assets", "LIABILITY": "Liabilities", "EQUITY": "Equity", "INCOME": "Income", "EXPENSE": "Expenses",
}  # fmt: skip
EXPORTS: Final = {"beancount": (export.beancount, "text/plain"), "csv": (export.as_csv, "text/csv")}

TOTALS = """
SELECT type, currency, count(*) AS accounts, sum(posted) AS posted, sum(pending_out) AS held
FROM account GROUP BY type, currency ORDER BY currency, type
"""
ACCOUNTS = """
SELECT id, key, type, currency, owner, posted, pending_out, seq, moved_at FROM account
WHERE id < $1 AND ($2 = '' OR type = $2) AND ($3 = '' OR currency = $3) AND ($4 = '' OR owner = $4 OR key = $4)
ORDER BY id DESC LIMIT $5
"""
ACCOUNT = """
SELECT id, key, type, currency, owner, allow_negative, posted, pending_out, seq, moved_at FROM account WHERE id = $1
"""
LINES = """
SELECT p.account_seq, p.at, e.kind, e.reference, p.entry_id, p.balance_after, ledger_side(a.type) * p.amount AS amount
FROM account a JOIN posting p ON p.account_id = a.id JOIN journal_entry e ON e.id = p.entry_id
WHERE a.id = $1 AND p.account_seq > $2 AND p.account_seq <= $3
ORDER BY p.account_seq DESC LIMIT $4
"""
JOURNAL = """
SELECT e.id, e.at, e.kind, e.reference, e.reverses, l.legs
FROM journal_entry e
CROSS JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_array(a.id, a.key, p.currency, p.amount) ORDER BY p.amount DESC, a.id) AS legs
    FROM posting p JOIN account a ON a.id = p.account_id WHERE p.entry_id = e.id
) l
WHERE e.id < $1 AND ($2 = '' OR e.kind = $2)
ORDER BY e.id DESC LIMIT $3
"""
ENTRY = """
SELECT e.*, u.id AS reversed_by, h.id AS hold_id
FROM journal_entry e LEFT JOIN journal_entry u ON u.reverses = e.id LEFT JOIN hold h ON h.key = e.settles
WHERE e.id = $1
"""
LEGS = """
SELECT p.account_id, p.account_seq, p.currency, p.amount, p.balance_after, a.key, a.type
FROM posting p JOIN account a ON a.id = p.account_id WHERE p.entry_id = $1 ORDER BY p.amount DESC, a.id
"""
HOLDS: Final = {
    # Each is a statement of its own, so that the index of open ones is used.
    state: f"""
SELECT h.id, h.key, h.account_id, h.amount, h.state, h.expires_at, h.created_at, h.resolved_at, h.entry_id,
       a.key AS account, a.currency,
       (SELECT i.reference FROM payment_instruction i WHERE i.key = h.key) AS payment
FROM hold h JOIN account a ON a.id = h.account_id
WHERE h.id < $1 AND h.state = '{state}'
ORDER BY h.id DESC LIMIT $2
"""  # noqa: S608  Its parts are constants of ours.
    for state in HOLD_STATES
}


@dataclass(frozen=True, slots=True)
class Span:
    """The days of a statement, both included; None is the beginning, or now."""

    first: date | None = None
    last: date | None = None

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Self:
        """Read an address' query. Raises UserError."""
        first, last = day_of(query, "from"), day_of(query, "to")
        if first and last and last < first:
            raise UserError("The last day is before the first. Choose them the other way round.")
        return cls(first, last)

    @property
    def query(self) -> dict[str, str]:
        """How it stands in an address."""
        pairs = {"from": self.first, "to": self.last}
        return {name: day.isoformat() for name, day in pairs.items() if day}


class Books:
    """Reads and renders the pages, and writes the books out."""

    def __init__(self, db: Database, zone: ZoneInfo, templates: Templates) -> None:
        self._db, self._zone, self._templates = db, zone, templates

    async def accounts(self, staff: auth.Staff, query: Mapping[str, str]) -> Markup:
        """Sums by type and currency, and accounts, the newest first. Raises UserError."""
        kind, currency, owner = query.get("type", ""), query.get("currency", "").strip().upper(), _text(query, "owner")
        if kind and kind not in set(AccountType):
            raise UserError(f"There is no type of that name. Choose one of {', '.join(AccountType)}.")
        if currency and currency not in DECIMALS:
            raise UserError("A currency is written as its code, such as KES.")
        before = before_of(query)
        async with self._db.hot() as connection:
            totals = await connection.fetch(TOTALS)
            rows, older = paged(await connection.fetch(ACCOUNTS, before or NEWEST, kind, currency, owner, PAGE + 1))
        filters = {name: value for name, value in (("type", kind), ("currency", currency), ("owner", owner)) if value}
        return self._templates.render(
            "books.html", section="payments", staff=staff, types=TYPES, filters=filters, before=before,
            totals=[{**row, "posted": Money(int(row["posted"]), row["currency"]),
                     "held": Money(int(row["held"]), row["currency"])} for row in map(dict, totals)],
            rows=[_account(row) for row in rows], older=older,
        )  # fmt: skip

    async def statement(self, staff: auth.Staff, account: str, query: Mapping[str, str]) -> Markup:
        """An account within some days: what it had before, every posting with the balance after it, what it had then.

        Raises UserError, and LookupError where there is no such account.
        """
        span, before = Span.parse(query), before_of(query)
        async with self._db.hot() as connection:
            of, low, high, opening, closing = await self._span(connection, account, span)
            top = min(high, before - 1) if before else high
            lines, older = paged(await connection.fetch(LINES, of["id"], low, top, PAGE + 1), by="account_seq")
        return self._templates.render(
            "statement.html", section="payments", staff=staff, of=_account(of), span=span, before=before,
            opening=opening, closing=closing, kinds=KINDS,
            lines=[_line(row, of["currency"]) for row in lines], older=older,
        )  # fmt: skip

    async def statement_csv(self, staff: auth.Staff, account: str, query: Mapping[str, str]) -> tuple[str, str]:
        """A statement as CSV, the oldest line first: the file's name, and what is in it. Raises as `statement` does."""
        span = Span.parse(query)
        async with self._db.transaction() as session:
            connection = await driver(session)
            of, low, high, _, _ = await self._span(connection, account, span)
            if high - low > CSV_LINES_MAX:
                raise UserError(f"That is more than {CSV_LINES_MAX:,} lines. Choose fewer days.")
            rows = await connection.fetch(LINES, of["id"], low, high, CSV_LINES_MAX)
            await audit.record(session, staff.actor, "books.written_out", f"account:{of['id']}", dict(span.query))
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(("number", "at", "kind", "entry", "reference", "currency", "amount", "balance"))
        for row in reversed(rows):
            line = _line(row, of["currency"])
            writer.writerow(
                (row["account_seq"], row["at"].isoformat(), row["kind"], row["entry_id"],
                 export.harmless(row["reference"] or ""), of["currency"], line["amount"].decimal,
                 line["after"].decimal)
            )  # fmt: skip
        return f"statement-{of['id']}.csv", out.getvalue()

    async def _span(self, connection: Any, account: str, span: Span) -> tuple[Any, int, int, Money, Money]:
        """The account, the numbers of its last postings before and within the days, and its balance after each."""
        of = await connection.fetchrow(ACCOUNT, row_id(account))
        if of is None:
            raise LookupError
        opening, low = Money(0, of["currency"]), 0
        closing, high = Money(of["posted"], of["currency"]), of["seq"]
        if span.first:
            opening, low = await balance_at(connection, as_account(of), self._before(span.first))
        if span.last:
            closing, high = await balance_at(connection, as_account(of), self._before(span.last + timedelta(days=1)))
        return of, low, high, opening, closing

    async def journal(self, staff: auth.Staff, query: Mapping[str, str]) -> Markup:
        """Entries, the newest first, each with its legs. Raises UserError."""
        kind, before = query.get("kind", ""), before_of(query)
        if kind and kind not in KINDS:
            raise UserError(f"There is no kind of that name. Choose one of {', '.join(KINDS)}.")
        async with self._db.hot() as connection:
            rows, older = paged(await connection.fetch(JOURNAL, before or NEWEST, kind, PAGE + 1))
        return self._templates.render(
            "journal.html", section="payments", staff=staff, kinds=KINDS, before=before,
            filters={"kind": kind} if kind else {}, older=older,
            rows=[
                {**row, "legs": [(id_, key, Money(minor, currency)) for id_, key, currency, minor in row["legs"]]}
                for row in map(dict, rows)
            ],
        )  # fmt: skip

    async def entry(self, staff: auth.Staff, entry: str) -> Markup:
        """One entry and all its legs. Raises LookupError."""
        async with self._db.hot() as connection:
            of = await connection.fetchrow(ENTRY, row_id(entry))
            if of is None:
                raise LookupError
            legs = [
                {**row, "debit": Money(row["amount"], row["currency"]) if row["amount"] > 0 else None,
                 "credit": Money(-row["amount"], row["currency"]) if row["amount"] < 0 else None,
                 "after": Money(row["balance_after"], row["currency"])}
                for row in map(dict, await connection.fetch(LEGS, of["id"]))
            ]  # fmt: skip
        return self._templates.render(
            "entry.html", section="payments", staff=staff, of=of, legs=legs, kinds=KINDS,
            key=new_key(),
        )  # fmt: skip

    async def holds(self, staff: auth.Staff, query: Mapping[str, str]) -> Markup:
        """What is kept back, or was: the newest first. Raises UserError."""
        shown, before = query.get("state", "open"), before_of(query)
        if shown not in HOLD_STATES:
            raise UserError(f"A hold is one of {', '.join(HOLD_STATES)}.")
        async with self._db.hot() as connection:
            rows, older = paged(await connection.fetch(HOLDS[shown], before or NEWEST, PAGE + 1))
        return self._templates.render(
            "holds.html", section="payments", staff=staff, states=HOLD_STATES, shown=shown, before=before,
            older=older,
            rows=[
                {**row, "amount": Money(row["amount"], row["currency"]),
                 "said": {"words": row["state"].capitalize(), "tone": HOLD_TONES[row["state"]]}}
                for row in map(dict, rows)
            ],
        )  # fmt: skip

    async def written(self, request: web.Request, staff: auth.Staff, form: str) -> web.StreamResponse:
        """The whole books as of one moment, sent as they are read. Raises LookupError for a form that there is not."""
        if form not in EXPORTS:
            raise LookupError
        write, content_type = EXPORTS[form]
        async with self._db.transaction() as session:
            await audit.record(session, staff.actor, "books.written_out", "books", {"form": form})
        headers = {hdrs.CONTENT_DISPOSITION: f'attachment; filename="journal.{form}"'}
        response = web.StreamResponse(headers=headers)
        response.content_type, response.charset = content_type, "utf-8"
        async with self._db.hot() as connection:
            pieces: AsyncIterator[str] = write(connection)
            await response.prepare(request)
            async for piece in pieces:
                await response.write(piece.encode())
        await response.write_eof()
        return response

    def _before(self, day: date) -> datetime:
        """The last moment that is not in a day yet, as fine as PostgreSQL tells time."""
        return datetime.combine(day, time(), self._zone).astimezone(UTC) - timedelta(microseconds=1)


def _account(row: Any) -> dict[str, Any]:
    posted, held = Money(row["posted"], row["currency"]), Money(row["pending_out"], row["currency"])
    return {**dict(row), "posted": posted, "held": held, "available": posted - held}


def _line(row: Any, currency: str) -> dict[str, Any]:
    return {**dict(row), "amount": Money(row["amount"], currency), "after": Money(row["balance_after"], currency)}


def _text(query: Mapping[str, str], name: str) -> str:
    """What was typed to search for. Raises UserError."""
    text = query.get(name, "").strip()
    if len(text) > KEY_CHARS_MAX or not text.isprintable():
        raise UserError(f"Search for an owner or an account in at most {KEY_CHARS_MAX} characters.")
    return text
