"""Every statement of the hot path looks rows up by an index, planned once, for tables that are still empty."""

import re
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from core import (
    conversations,
    crypto,
    exports,
    fetching,
    handoff_store,
    inbox,
    mailboxes,
    outbox,
    rooms,
    summary,
    turn_store,
    voice,
)
from core.db import Database
from jobs import summaries, sweeps, wallets
from ledger import balances, holds, instruction_store, invoices, posting

STATEMENTS = {
    "inbox.STORE": inbox.STORE,
    "inbox.STORE_ASIDE": inbox.STORE_ASIDE,
    "inbox.FIND": inbox.FIND,
    "turn.CLAIM": turn_store.CLAIM,
    "turn.READ": turn_store.READ,
    "turn.RENEW": turn_store.RENEW,
    "turn.CLOSE": turn_store.CLOSE,
    "turn.SPEAK": turn_store.SPEAK,
    "outbox.POST": outbox.POST,
    "outbox.CLAIM": outbox.CLAIM + outbox.CLAIMED,
    "outbox.CLAIM_WINDOWED": outbox.CLAIM + outbox.CLAIMED_WINDOWED,
    "outbox.USE_TEMPLATE": outbox.USE_TEMPLATE,
    "outbox.HOLD": outbox.HOLD,
    "outbox.GIVE_WAY": outbox.GIVE_WAY,
    "outbox.RELEASE": outbox.RELEASE,
    "outbox.CLAIM_IN_DOUBT": outbox.CLAIM_IN_DOUBT + outbox.CLAIMED,
    "outbox.ABANDONED": outbox.ABANDONED,
    "outbox.SETTLE": outbox.SETTLE,
    "outbox.RECORD": outbox.RECORD,
    "crypto.CURRENT": crypto.CURRENT,
    "crypto.OF_EPOCHS": crypto.OF_EPOCHS,
    "conversations.HISTORY": conversations.HISTORY,
    "conversations.CHANGES": conversations.CHANGES,
    "conversations.LAST_SEQS": conversations.LAST_SEQS,
    "conversations.BEFORE": conversations.BEFORE,
    "conversations.REPLIES": conversations.REPLIES,
    "conversations.OURS": conversations.OURS,
    "conversations.OURS_BY_NUMBER": conversations.OURS_BY_NUMBER,
    "conversations.THREAD": conversations.THREAD,
    "rooms.SPEAKER": rooms.SPEAKER,
    "rooms.ROSTERS": rooms.ROSTERS,
    "rooms.PRESENT": rooms.PRESENT,
    "rooms.READ": rooms.READ,
    "rooms.LIST": rooms.LIST,
    "handoff_store.LOCK": handoff_store.LOCK,
    "handoff_store.MOVE_TURNS": handoff_store.MOVE_TURNS,
    "handoff_store.OVER": handoff_store.OVER,
    "handoff_store.HELD": handoff_store.HELD,
    "handoff_store.UNHEARD": handoff_store.UNHEARD,
    "voice.PARK": voice.PARK,
    "voice.CLAIMABLE": voice.CLAIMABLE,
    "voice.CLAIM": voice.CLAIM,
    "voice.FIND": voice.FIND,
    "voice.LET_GO": voice.LET_GO,
    "fetching.CLAIMABLE": fetching.CLAIMABLE,
    "fetching.CLAIM": fetching.CLAIM,
    "fetching.FIND": fetching.FIND,
    "mailboxes.READ": mailboxes.READ,
    "exports.CLAIMABLE": exports.CLAIMABLE,
    "exports.CLAIM": exports.CLAIM,
    "exports.HOLD": exports.HOLD,
    "exports.SETTLE": exports.SETTLE,
    "exports.OLD": exports.OLD,
    "exports.ALL": exports.ALL,
    "instruction_store.CLAIMABLE": instruction_store.CLAIMABLE,
    "instruction_store.CLAIM": instruction_store.CLAIM,
    "instruction_store.BY_ID": instruction_store.BY_ID,
    "instruction_store.BY_REFERENCE": instruction_store.BY_REFERENCE,
    "instruction_store.BY_KEY": instruction_store.BY_KEY,
    "instruction_store.OF_PERSON": instruction_store.OF_PERSON,
    "instruction_store.MOVE": instruction_store.MOVE,
    "instruction_store.STAY": instruction_store.STAY,
    "instruction_store.HINT": instruction_store.HINT,
    "invoices.BY_KEY": invoices.BY_KEY,
    "invoices.BY_NUMBER": invoices.BY_NUMBER,
    "invoices.BY_TOKEN": invoices.BY_TOKEN,
    "invoices.OF_PERSON": invoices.OF_PERSON,
    "invoices.LOCK": invoices.LOCK,
    "invoices.PAYMENTS": invoices.PAYMENTS,
    "invoices.ASKED": invoices.ASKED,
    "invoices.GIVEN_BACK": invoices.GIVEN_BACK,
    "invoices.CLAIMABLE": invoices.CLAIMABLE,
    "invoices.CLAIM": invoices.CLAIM,
    "invoices.SERIES_CLAIMABLE": invoices.SERIES_CLAIMABLE,
    "invoices.SERIES_LOCK": invoices.SERIES_LOCK,
    "invoices.SERIES_OF": invoices.SERIES_OF,
    "invoices.SERIES_ALL": invoices.SERIES_ALL,
    "posting.IDS": posting.IDS,
    "posting.LOCK": posting.LOCK,
    "posting.WRITE_AT_ONCE": posting.WRITE_AT_ONCE,
    "posting.FIND": posting.FIND,
    "posting.REVERSED": posting.REVERSED,
    "posting.LOCK_HOLDS": posting.LOCK_HOLDS,
    "posting.POST_HOLDS": posting.POST_HOLDS,
    "posting.READ": posting.READ,
    "holds.FIND": holds.FIND,
    "holds.VOID": holds.VOID,
    "holds.LOCK_ACCOUNTS": holds.LOCK_ACCOUNTS,
    "holds.OVERDUE": holds.OVERDUE,
    "holds.EXPIRE": holds.EXPIRE,
    "balances.BALANCE": balances.BALANCE,
    "balances.BALANCES": balances.BALANCES,
    "balances.BALANCE_AT": balances.BALANCE_AT,
    "balances.SPENT": balances.SPENT,
    "balances.STATEMENT": balances.STATEMENT,
    "wallets.LEFT_BEHIND": wallets.LEFT_BEHIND,
    "wallets.LEFT_BY_ERASED": wallets.LEFT_BY_ERASED,
    "sweeps.CLAIM_DUE": sweeps.CLAIM_DUE,
    "sweeps.MOVE_ON": sweeps.MOVE_ON,
    "sweeps.REFUSED": sweeps.REFUSED,
    "summary.OF": summary.OF,
    "summaries.NOTE": summaries.NOTE,
    "summaries.DUE": summaries.DUE,
    "summaries.TURNS": summaries.TURNS,
}
READ_WHOLE = {
    "ix_conversation_held_until",
    "ix_turn_claimable",
    "ix_outbox_in_doubt",
    "ix_outbox_refused",
    "ix_person_erasure_id",
    "ix_person_merged_into",
    "ix_transcription_waiting",
    "ix_file_fetch_waiting",
    "ix_data_export_waiting",
    "ix_summary_due",
    "ix_payment_instruction_due",
    "ix_invoice_due",
    "ix_invoice_series_due",
    "ix_payment_instruction_review",
}
"""Partial indexes that hold nothing but what is looked for."""


def scans(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The parts of a plan that read a table."""
    if "Relation Name" in plan and "Scan" in plan["Node Type"]:
        yield plan
    for part in plan.get("Plans", ()):
        yield from scans(part)


@pytest.mark.parametrize("name", STATEMENTS)
async def test_a_hot_statement_never_reads_a_table_from_end_to_end(name: str, db: Database) -> None:
    statement = STATEMENTS[name]
    parameters = max((int(number) for number in re.findall(r"\$(\d+)", statement)), default=0)
    call = f"p({', '.join(['NULL'] * parameters)})" if parameters else "p"
    async with db.hot() as connection:
        await connection.execute(f"PREPARE p AS {statement}")
        told = await connection.fetchval(f"EXPLAIN (COSTS OFF, FORMAT JSON) EXECUTE {call}")
        await connection.execute("DEALLOCATE p")
    [explained] = orjson.loads(told) if isinstance(told, str) else told
    read = list(scans(explained["Plan"]))
    assert read
    for scan in read:
        assert "Index" in scan["Node Type"], scan
        assert "Index Cond" in scan or scan["Index Name"] in READ_WHOLE, scan
