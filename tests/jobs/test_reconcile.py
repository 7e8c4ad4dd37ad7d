"""The provider's own list over the wire, compared with ours: settled to the cent, and every planted fault is found."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.db import Database
from core.errors import Conflict, ProviderError
from core.settings import Settings
from jobs.reconcile import reconcile
from ledger import matching_store
from ledger.accounts import fee_expense, held_at
from ledger.balances import balance
from ledger.instructions import State
from tests.bot.sandbox.conftest import Simulators
from tests.jobs.till import SAYS_NO, Till, till

KES = "0XDLWNK"


@pytest.fixture
async def desk(db: Database, tmp_path: Path) -> AsyncIterator[Till]:
    """A till with a provider of its own, whose list has nothing of other tests."""
    simulators = Simulators(tmp_path)
    simulators.start()
    try:
        async with till(db, Settings(_env_file=None, sandbox_url=simulators.url).sandboxed()) as made:
            await made.fund(1_000)
            yield made
    finally:
        simulators.stop()


async def posted(desk: Till, account: Any) -> int:
    async with desk.db.hot() as connection:
        return (await balance(connection, account)).posted.minor


async def findings(desk: Till) -> list[tuple[str, int | None]]:
    """Kind and unexplained cents of what is open."""
    async with desk.db.hot() as connection:
        return [(row["kind"], row["unexplained"]) for row in await matching_store.open_findings(connection)]


async def compared(desk: Till) -> tuple[int, dict[str, int]]:
    """Compare now: how many lines were settled, and what is unexplained."""
    outcome = await reconcile(desk.db, desk.hands.provider, at_once=True)
    assert outcome is not None
    return outcome.matched, outcome.unexplained


async def age(desk: Till) -> None:
    """All that was booked was booked three hours ago."""
    await desk.db.pool.execute("UPDATE payment_instruction SET done_at = done_at - interval '3 hours'")


async def plant(desk: Till, *lines: dict[str, Any], wallet: str = KES) -> None:
    """Put lines into the provider's list."""
    answer = await desk.wire.post("/_lines", json={"wallet_id": wallet, "lines": list(lines)})
    assert answer.status_code == 200, answer.text


def line(id_: str, value: str, narrative: str, kind: str = "PAYOUT", **more: Any) -> dict[str, Any]:
    """A line of a wallet's list, of now."""
    now = datetime.now(UTC).timestamp()
    known = {"transaction_id": id_, "value": value, "running_balance": "0", "narrative": narrative, "trans_type": kind}
    return known | {"at": now} | more


async def test_what_both_agree_on_leaves_the_clearing_account_at_zero(desk: Till) -> None:
    asked = [await desk.send(38), await desk.send(100), await desk.ask(52), await desk.send(to=SAYS_NO)]
    for one in asked:
        await desk.reach(one)
    assert await desk.between() == 5_200 - 13_800
    assert await compared(desk) == (3, {})
    assert await desk.between() == 0
    assert await posted(desk, held_at("intasend", "KES")) == 5_044 - 13_800 - 2_000
    assert await posted(desk, fee_expense("intasend", "KES")) == 156 + 2_000
    assert await findings(desk) == []
    await age(desk)
    # Again, and by two at once: nothing is settled twice.
    assert list(await asyncio.gather(compared(desk), compared(desk))) == [(0, {}), (0, {})]
    assert await desk.between() == 0


async def test_every_kind_of_fault_is_found_explained_and_not_found_again(desk: Till) -> None:
    kept = [await desk.reach(await desk.send(amount)) for amount in (11, 12, 13, 14)]
    assert {one.state for one in kept} == {State.SUCCEEDED}
    await compared(desk)
    # Payments that are in our books, and have not stood in the provider's list until now.
    made = [await desk.send(amount) for amount in range(21, 27)]
    await desk.db.pool.execute(
        """UPDATE payment_instruction SET state = 'initiating' WHERE id = ANY($1::bigint[])""", [one.id for one in made]
    )
    for state in ("initiated", "approving", "submitted", "succeeded"):
        await desk.db.pool.execute(
            "UPDATE payment_instruction SET state = $2, charge = 1000, due_at = NULL, done_at = clock_timestamp()"
            " WHERE id = ANY($1::bigint[])",
            [one.id for one in made], state,
        )  # fmt: skip
    missing, amount, currency, fee, late, failed = made
    then = (datetime.now(UTC) + timedelta(days=2)).timestamp()
    await plant(
        desk, line("EXTRA", "-500.00", "of somebody"), line("AMOUNT", "-22.50", amount.reference),
        line("CURRENCY", "-23.00", currency.reference, currency="USD"), line("FEE", "-24.00", fee.reference),
        line("FEE-F", "-11.00", fee.reference, "CHARGE"), line("LATE", "-25.00", late.reference, at=then),
        line("LATE-F", "-10.00", late.reference, "CHARGE", at=then),
        line("BACK", "11.00", kept[0].reference, "REVERSAL"),
        line("AGAIN", "-12.00", kept[1].reference), line("FINE", "-26.00", failed.reference),
        line("FINE-F", "-10.00", failed.reference, "CHARGE"),
    )  # fmt: skip
    await age(desk)
    matched, unexplained = await compared(desk)
    assert matched == 3
    assert sorted(await findings(desk)) == sorted(
        [
            ("missing_here", 50_000), ("missing_there", 2_100), ("amount", 50), ("currency", 2_300), ("fee", 100),
            ("late", None), ("reversed", 1_100), ("duplicate", 1_200),
        ]
    )  # fmt: skip
    assert unexplained == {"KES": 50_000 + 2_100 + 50 + 2_300 + 100 + 1_100 + 1_200}
    async with desk.db.hot() as connection:
        for row in await matching_store.open_findings(connection):
            await matching_store.explain(connection, row["id"], "staff:owner", "looked at")
        with pytest.raises(Conflict):
            await matching_store.explain(connection, row["id"], "staff:owner", "looked at")
    assert await compared(desk) == (0, {})
    assert await findings(desk) == []
    # What was missing turns up: it is settled, and what had been said of it stays explained.
    await plant(desk, line("AFTER-ALL", "-21.00", missing.reference))
    assert (await compared(desk))[0] == 1


async def test_what_was_paid_although_it_had_failed_here_is_credited(desk: Till) -> None:
    made = await desk.ask(52)
    await desk.reach(made, {State.PENDING})
    states = "UPDATE payment_instruction SET state = 'failed', due_at = NULL, done_at = clock_timestamp()"
    await desk.db.pool.execute(states)
    while not await desk.truth(made, "paid"):
        await asyncio.sleep(0.01)
    assert await compared(desk) == (0, {"KES": 5_200})
    assert await findings(desk) == [("late", 5_200)]
    await desk.reach(made, {State.LATE})
    assert await desk.purse() == (105_200, 0)
    # The next comparison settles it, and ends the finding by itself.
    assert await compared(desk) == (1, {})
    assert await desk.between() == 0


async def test_one_comparison_in_two_hours_by_however_many_processes(desk: Till) -> None:
    ran = await asyncio.gather(*(reconcile(desk.db, desk.hands.provider) for _ in range(8)))
    assert sum(one is not None for one in ran) == 1
    assert await reconcile(desk.db, desk.hands.provider) is None
    await desk.db.pool.execute("UPDATE reconciliation_run SET finished_at = finished_at - interval '2 hours'")
    assert await reconcile(desk.db, desk.hands.provider) is not None


async def test_what_was_booked_while_nobody_compared_is_settled_later(desk: Till) -> None:
    made = await desk.reach(await desk.send(38))
    await desk.wire.post(str(desk.wire.base_url).replace("/intasend/", "/_reset"))
    week = timedelta(days=7)
    await desk.db.pool.execute("UPDATE payment_instruction SET done_at = done_at - $1::interval", week)
    then = (datetime.now(UTC) - week).timestamp()
    await plant(
        desk, line("OLD", "-38.00", made.reference, at=then), line("OLD-F", "-10.00", made.reference, "CHARGE", at=then)
    )
    assert await compared(desk) == (1, {})


async def test_a_provider_that_is_away_leaves_what_was_settled(desk: Till) -> None:
    await desk.reach(await desk.send(38))
    await desk.plan("transactions", "500_not_executed", times=None)
    with pytest.raises(ProviderError):
        await reconcile(desk.db, desk.hands.provider, at_once=True)
    await desk.wire.delete("/_faults")
    assert await compared(desk) == (1, {})


async def test_a_list_of_many_pages_is_read_to_its_end(desk: Till) -> None:
    """All are strangers: each is a finding, and none is read twice."""
    strangers = [line(f"S{number}", "-1.00", f"stranger {number}") for number in range(1_234)]
    strangers.append(strangers[-1])  # Shown on two pages, since the list grew meanwhile.
    for start in range(0, len(strangers), 500):
        await plant(desk, *strangers[start : start + 500])
    outcome = await reconcile(desk.db, desk.hands.provider, at_once=True)
    assert outcome is not None
    assert (outcome.lines, outcome.found) == (1_235, 1_234)
    assert outcome.unexplained == {"KES": 123_400}
    assert Counter(kind for kind, _ in await findings(desk)) == {"missing_here": 1_234}
