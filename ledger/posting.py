"""Posting: entries are written whole, once, in batches; accounts are locked in id order before anything is decided.

`Ledger` shares one transaction among all who post at the same time; `post` does it in a transaction of the caller's,
for what must be written together with other rows. PostgreSQL checks again everything that is decided here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg

from core.db import POOL_WAIT_S, Database
from core.errors import MathiaError, StoreUnavailable
from core.group_commit import GroupCommit
from ledger.accounts import as_account
from ledger.errors import (
    AlreadyReversed,
    BalanceLimit,
    HoldResolved,
    IllegalEntry,
    InsufficientFunds,
    KeyReused,
    Unknown,
)
from ledger.journal import Account, Entry, Line, Posting, Standing, apply, reversal
from ledger.money import Money

LANES = 2
"""Transactions at once: one is worked on while another waits for the disk."""
BATCH_MAX = 128
"""Entries in one transaction."""
KNOWN_MAX = 100_000
"""Accounts a process remembers to be there; it begins anew when there are more."""
TRIES_MAX = 5
"""How often a batch is tried that another transaction got in the way of."""

REFUSALS: Final[dict[str, type[InsufficientFunds | BalanceLimit]]] = {
    "insufficient_funds": InsufficientFunds,
    "balance_limit": BalanceLimit,
}

MAKE = """
INSERT INTO account (key, type, currency, owner, allow_negative)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bool[]) AS a(key) ORDER BY key
ON CONFLICT (key) DO NOTHING
"""
IDS = "SELECT id, key, type, currency, owner, allow_negative FROM account WHERE key = ANY($1::text[])"
LOCK = """
SELECT a.id, a.key, a.type, a.currency, a.owner, a.allow_negative, a.posted, a.pending_out, a.seq, a.moved_at
FROM unnest($1::text[]) AS k(key) JOIN account a ON a.key = k.key
ORDER BY a.id FOR NO KEY UPDATE OF a
"""
FIND = """
SELECT id, key, request_hash, at, NULL AS reason FROM journal_entry WHERE key = ANY($1::text[])
UNION ALL SELECT NULL, key, request_hash, at, reason FROM refused_entry WHERE key = ANY($1::text[])
UNION ALL SELECT nextval('journal_entry_id_seq'), NULL, NULL, clock_timestamp(), NULL FROM generate_series(1, $2::int)
"""
"""What became of keys before, and so many new ids with the time; asked after the accounts are locked, so that whoever
posted the same key on the same accounts is seen."""
REVERSED = "SELECT reverses FROM journal_entry WHERE reverses = ANY($1::bigint[])"
LOCK_HOLDS = """
SELECT h.id, h.key, h.account_id, h.amount,
       h.state = 'open' AND coalesce(h.expires_at > clock_timestamp(), true) AS free
FROM unnest($1::text[]) AS k(key) JOIN hold h ON h.key = k.key
ORDER BY h.id FOR NO KEY UPDATE OF h
"""
POST_HOLDS = """
UPDATE hold h SET state = 'posted', entry_id = p.entry_id
FROM unnest($1::bigint[], $2::bigint[]) AS p(id, entry_id) WHERE h.id = p.id
"""
WRITE = """
WITH entry AS (
    INSERT INTO journal_entry (id, key, request_hash, kind, at, occurred_at, reference, reverses, settles, rate,
                               rate_pair, rate_source, rated_at)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::text[], $5::timestamptz[], $6::timestamptz[],
                         $7::text[], $8::bigint[], $9::text[], $10::numeric[], $11::text[], $12::text[],
                         $13::timestamptz[])
)
INSERT INTO posting (account_id, account_seq, entry_id, currency, amount, balance_after, at)
SELECT * FROM unnest($14::bigint[], $15::bigint[], $16::bigint[], $17::text[], $18::bigint[], $19::bigint[],
                     $20::timestamptz[])
"""
WRITE_AT_ONCE = """
WITH fresh AS MATERIALIZED (
    SELECT array_agg(nextval('journal_entry_id_seq')) AS id FROM generate_series(1, cardinality($1::text[]))
), locked AS MATERIALIZED (
    SELECT id, posted, seq, moved_at FROM account WHERE id = ANY($6::bigint[]) ORDER BY id FOR NO KEY UPDATE
), standing AS MATERIALIZED (
    SELECT array_agg(posted ORDER BY id) AS posted, array_agg(seq ORDER BY id) AS seq,
           greatest(clock_timestamp(), max(moved_at)) AS at
    FROM locked
), entry AS (
    INSERT INTO journal_entry (id, key, request_hash, kind, at, occurred_at, reference)
    SELECT fresh.id[e.n], e.key, e.request_hash, e.kind, standing.at, e.occurred_at, e.reference
    FROM unnest($1::text[], $2::bytea[], $3::text[], $4::timestamptz[], $5::text[])
         WITH ORDINALITY AS e(key, request_hash, kind, occurred_at, reference, n), fresh, standing
), posting AS (
    INSERT INTO posting (account_id, account_seq, entry_id, currency, amount, balance_after, at)
    SELECT ($6::bigint[])[p.account], standing.seq[p.account] + p.nth, fresh.id[p.entry], p.currency, p.amount,
           standing.posted[p.account] + p.gained, standing.at
    FROM unnest($7::int[], $8::int[], $9::int[], $10::text[], $11::bigint[], $12::bigint[])
         AS p(account, nth, entry, currency, amount, gained), fresh, standing
)
SELECT fresh.id, standing.at FROM fresh, standing
"""
"""Locks, reads and writes in one statement, without looking whether anything is against it: the laws refuse all of it
then. `account` and `entry` count from 1; `nth` and `gained` are what this statement has added to an account by then."""
REFUSE = """
INSERT INTO refused_entry (key, request_hash, reason) SELECT * FROM unnest($1::text[], $2::bytea[], $3::text[])
ON CONFLICT (key) DO NOTHING
"""
READ = """
SELECT p.amount, p.currency, a.key, a.type, a.owner, a.allow_negative
FROM posting p JOIN account a ON a.id = p.account_id
WHERE p.entry_id = $1 ORDER BY p.account_id
"""


@dataclass(frozen=True, slots=True)
class Posted:
    """An entry in the books: the same for every request with its key, the first and all later ones."""

    id: int
    key: str
    at: datetime


class Ledger:
    """Posts entries in group commits; one for each process and database."""

    def __init__(self, db: Database, *, tries_max: int = TRIES_MAX, known_max: int = KNOWN_MAX) -> None:
        self._db = db
        self._tries_max = tries_max
        self._known_max = known_max
        self._known: dict[str, tuple[int, Account]] = {}
        self._lane: GroupCommit[Entry, Posted | MathiaError] = GroupCommit(
            self._commit, lanes=LANES, batch_max=BATCH_MAX
        )

    async def post(self, entry: Entry) -> Posted:
        """Post one entry, durably; the same key and request have the same answer for ever, also a refusal for money.

        Raises InsufficientFunds or BalanceLimit (for ever), KeyReused, AlreadyReversed, HoldResolved, IllegalEntry; or
        StoreUnavailable, when the entry may have been posted all the same: ask again with the same key.
        """
        answer = await self._lane.submit(entry)
        if isinstance(answer, Posted):
            return answer
        raise answer

    async def reverse(self, entry_id: int, key: str, reference: str | None = None) -> Posted:
        """Undo an entry by its opposite, at most once for ever. Raises AlreadyReversed, and whatever `post` raises."""
        async with self._db.hot() as connection:
            entry = await reversal_of(connection, entry_id, key, reference)
        return await self.post(entry)

    async def _commit(self, entries: Sequence[Entry]) -> Sequence[Posted | MathiaError]:
        await self._learn({one.account.key: one.account for entry in entries for one in entry.postings})
        if (answers := await self._at_once(entries)) is not None:
            return answers
        for _ in range(self._tries_max):
            try:
                async with self._db.hot() as connection:
                    return await _post(connection, entries, remember=True)
            except (asyncpg.DeadlockDetectedError, asyncpg.UniqueViolationError):
                continue  # Others hold what we want, or took a key of ours for other accounts: we see it next time.
        raise StoreUnavailable("The ledger is too busy just now. Try again in a few seconds.")

    async def _learn(self, accounts: Mapping[str, Account]) -> None:
        """Have all these accounts made and known. That is a transaction of its own, before anything is locked, so that
        nobody waits for anybody in a circle."""
        if len(self._known) > self._known_max:
            self._known = {}
        missing = [account for key, account in accounts.items() if key not in self._known]
        if not missing:
            return
        async with self._db.hot() as connection:
            await make(connection, missing)
            rows = await connection.fetch(IDS, [account.key for account in missing])
        self._known |= {row["key"]: (row["id"], as_account(row)) for row in rows}

    async def _at_once(self, entries: Sequence[Entry]) -> list[Posted | MathiaError] | None:
        """Post all of them in one statement, as nearly always goes well; None where each has to be looked at."""
        if any(entry.settles or entry.reverses or entry.quote for entry in entries):
            return None
        ids: dict[str, int] = {}
        for entry in entries:
            for one in entry.postings:
                known = self._known.get(one.account.key)
                if known is None or known[1] != one.account:
                    return None
                ids[one.account.key] = known[0]
        ordered = sorted(ids.values())
        places = {id_: place for place, id_ in enumerate(ordered, 1)}
        nth, gained = dict.fromkeys(ordered, 0), dict.fromkeys(ordered, 0)
        lines = []
        for number, entry in enumerate(entries, 1):
            for one in entry.postings:
                id_, minor = ids[one.account.key], one.amount.minor
                nth[id_] += 1
                gained[id_] += one.account.type.side * minor
                lines.append((places[id_], nth[id_], number, one.amount.currency, minor, gained[id_]))
        heads = [(one.key, one.request_hash, one.kind.value, one.occurred_at, one.reference) for one in entries]
        try:
            async with self._db.pool.acquire(timeout=POOL_WAIT_S) as connection:
                row = await connection.fetchrow(WRITE_AT_ONCE, *_columns(heads), ordered, *_columns(lines))
        except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError, asyncpg.DeadlockDetectedError):
            return None
        return [Posted(id_, entry.key, row["at"]) for id_, entry in zip(row["id"], entries, strict=True)]


async def post(connection: Any, entry: Entry) -> Posted:
    """Post one entry in the caller's transaction, over its asyncpg connection (core.db.hot, or core.db.driver).

    Call it once in a transaction, after the caller's own row locks. It raises what `Ledger.post` raises, and then has
    written nothing; but a refusal for money is not remembered, since the caller's transaction may not be committed.
    """
    [answer] = await post_all(connection, [entry])
    if isinstance(answer, Posted):
        return answer
    raise answer


async def post_all(connection: Any, entries: Sequence[Entry]) -> list[Posted | MathiaError]:
    """Post several entries in the caller's transaction, in this order; one that is refused has its error as answer."""
    await make(connection, {one.account.key: one.account for entry in entries for one in entry.postings}.values())
    try:
        return await _post(connection, entries, remember=False)
    except asyncpg.UniqueViolationError as error:
        # The same request has the same accounts, and would have waited for their locks.
        raise KeyReused("The key was just used for another entry.") from error


async def make(connection: Any, accounts: Iterable[Account]) -> None:
    """Make the accounts that are not there yet."""
    rows = [(one.key, one.type.value, one.currency, one.owner, one.allow_negative) for one in accounts]
    await connection.execute(MAKE, *(list(column) for column in zip(*rows, strict=True)))


async def reversal_of(connection: Any, entry_id: int, key: str, reference: str | None = None) -> Entry:
    """The entry that would undo entry `entry_id`; Unknown where there is none."""
    rows = await connection.fetch(READ, entry_id)
    if not rows:
        raise Unknown(f"There is no journal entry {entry_id}.")
    postings = tuple(Posting(as_account(row), Money(row["amount"], row["currency"])) for row in rows)
    return reversal(key, entry_id, postings, reference)


async def _post(connection: Any, entries: Sequence[Entry], *, remember: bool) -> list[Posted | MathiaError]:
    """Lock, decide, write; the accounts have been made."""
    keys = {one.account.key for entry in entries for one in entry.postings}
    batch = Batch(await connection.fetch(LOCK, list(keys)))
    batch.found(await connection.fetch(FIND, [entry.key for entry in entries], len(entries)))
    if reverses := [entry.reverses for entry in entries if entry.reverses is not None]:
        batch.reversed = {row["reverses"] for row in await connection.fetch(REVERSED, reverses)}
    if settles := [entry.settles for entry in entries if entry.settles is not None]:
        batch.holds = {row["key"]: Held(**row) for row in await connection.fetch(LOCK_HOLDS, settles)}
    answers = [batch.answer(entry) for entry in entries]
    if batch.posted_holds:
        await connection.execute(POST_HOLDS, *_columns(batch.posted_holds))
    if batch.entries:
        await connection.execute(WRITE, *_columns(batch.entries), *_columns(batch.postings))
    if remember and batch.refused:
        await connection.execute(REFUSE, *_columns(batch.refused))
    return answers


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


@dataclass(slots=True)
class Held:
    """A hold under its lock; `free` while it is open and in its time."""

    id: int
    key: str
    account_id: int
    amount: int
    free: bool


class Batch:
    """Entries on their way, with everything of the database that decides about them under its lock."""

    def __init__(self, accounts: Iterable[Any]) -> None:
        self.standings = {
            row["key"]: Standing(
                row["id"], as_account(row), row["posted"], row["pending_out"], row["seq"], row["moved_at"]
            )
            for row in accounts
        }
        self.earlier: dict[str, tuple[bytes, Posted | str]] = {}
        self.ids: list[int] = []
        self.now: datetime
        self.reversed: set[int] = set()
        self.holds: dict[str, Held] = {}
        self.entries: list[tuple[Any, ...]] = []
        self.postings: list[tuple[Any, ...]] = []
        self.posted_holds: list[tuple[int, int]] = []
        self.refused: list[tuple[str, bytes, str]] = []

    def found(self, rows: Iterable[Any]) -> None:
        """Take the answer of FIND."""
        for id_, key, request_hash, at, reason in rows:
            if key is None:
                self.ids.append(id_)
                self.now = at
            elif reason is None:
                self.earlier[key] = request_hash, Posted(id_, key, at)
            else:
                # Two requests may have come at once under one key, of which one was posted: that one stands.
                self.earlier.setdefault(key, (request_hash, reason))

    def answer(self, entry: Entry) -> Posted | MathiaError:
        """What becomes of an entry; one that is posted is taken down to be written."""
        if entry.key in self.earlier:
            request_hash, earlier = self.earlier[entry.key]
            if request_hash != entry.request_hash:
                return KeyReused("The key was used for another entry.")
            return earlier if isinstance(earlier, Posted) else REFUSALS[earlier]()
        try:
            hold = self._free(entry)
            lines = self._apply(entry, hold)
        except (InsufficientFunds, BalanceLimit) as error:
            reason = next(name for name, kind in REFUSALS.items() if type(error) is kind)
            self.refused.append((entry.key, entry.request_hash, reason))
            self.earlier[entry.key] = entry.request_hash, reason
            return error
        except MathiaError as error:
            return error
        return self._take_down(entry, lines, hold)

    def _free(self, entry: Entry) -> Held | None:
        """The hold that an entry settles, which has to be free, if any; whatever it reverses must not be reversed."""
        if entry.reverses in self.reversed:
            raise AlreadyReversed("The entry was reversed before.")
        if entry.settles is None:
            return None
        hold = self.holds.get(entry.settles)
        if hold is None:
            raise Unknown(f"There is no hold {entry.settles}.")
        if not hold.free:
            raise HoldResolved("The hold was resolved before, or its time is over.")
        taken = [
            -one.account.type.side * one.amount.minor
            for one in entry.postings
            if self.standings[one.account.key].id == hold.account_id
        ]
        if not taken or not 1 <= taken[0] <= hold.amount:
            raise IllegalEntry("An entry that settles a hold takes something from its account, at most what is held.")
        return hold

    def _apply(self, entry: Entry, hold: Held | None) -> list[Line]:
        if hold is None:
            return apply(entry, self.standings)
        standing = next(one for one in self.standings.values() if one.id == hold.account_id)
        standing.pending_out -= hold.amount
        try:
            return apply(entry, self.standings)
        except MathiaError:
            standing.pending_out += hold.amount
            raise

    def _take_down(self, entry: Entry, lines: list[Line], hold: Held | None) -> Posted:
        touched = [self.standings[one.account.key] for one in entry.postings]
        at = max(self.now, *(standing.moved_at for standing in touched))
        for standing in touched:
            standing.moved_at = at
        posted = Posted(self.ids[len(self.entries)], entry.key, at)
        quote = entry.quote
        self.entries.append(
            (posted.id, entry.key, entry.request_hash, entry.kind.value, at, entry.occurred_at, entry.reference,
             entry.reverses, entry.settles,
             *((quote.rate, f"{quote.sold}/{quote.bought}", quote.source, quote.at) if quote else (None,) * 4))
        )  # fmt: skip
        self.postings += [
            (line.account_id, line.account_seq, posted.id, line.currency, line.amount, line.balance_after, at)
            for line in lines
        ]
        if hold is not None:
            hold.free = False
            self.posted_holds.append((hold.id, posted.id))
        if entry.reverses is not None:
            self.reversed.add(entry.reverses)
        self.earlier[entry.key] = entry.request_hash, posted
        return posted
