"""Group commit: shared, bounded, and fair to neighbours."""

import asyncio
from collections.abc import Sequence

import pytest

from core.errors import StoreUnavailable
from core.group_commit import GroupCommit


async def test_what_arrives_during_a_commit_shares_the_next_one() -> None:
    sizes: list[int] = []
    gate = asyncio.Event()

    async def commit(items: Sequence[int]) -> list[int]:
        sizes.append(len(items))
        await gate.wait()
        return [item * 2 for item in items]

    lane: GroupCommit[int, int] = GroupCommit(commit)
    first = asyncio.create_task(lane.submit(1))
    while not sizes:
        await asyncio.sleep(0)
    rest = [asyncio.create_task(lane.submit(n)) for n in range(2, 12)]
    await asyncio.sleep(0)
    gate.set()
    assert await first == 2
    assert await asyncio.gather(*rest) == [n * 2 for n in range(2, 12)]
    assert sizes == [1, 10]


async def test_a_refused_item_fails_alone() -> None:
    async def commit(items: Sequence[int]) -> list[int]:
        if 3 in items:
            raise ValueError("three is refused")
        return list(items)

    lane: GroupCommit[int, int] = GroupCommit(commit)
    results = await asyncio.gather(*(lane.submit(n) for n in range(6)), return_exceptions=True)
    assert [str(result) for result in results] == ["0", "1", "2", "three is refused", "4", "5"]


async def test_a_store_that_is_away_fails_everybody_with_one_sentence() -> None:
    async def commit(_items: Sequence[int]) -> list[int]:
        raise ConnectionRefusedError

    lane: GroupCommit[int, int] = GroupCommit(commit)
    results = await asyncio.gather(*(lane.submit(n) for n in range(4)), return_exceptions=True)
    assert all(isinstance(result, StoreUnavailable) for result in results)


async def test_the_queue_is_bounded() -> None:
    async def commit(items: Sequence[int]) -> list[int]:
        await asyncio.Event().wait()
        return list(items)

    lane: GroupCommit[int, int] = GroupCommit(commit, waiting_max=2)
    waiting = [asyncio.create_task(lane.submit(n)) for n in range(2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    more = [asyncio.create_task(lane.submit(n)) for n in range(2, 4)]
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable):
        await lane.submit(9)
    for task in (*waiting, *more):
        task.cancel()
    await asyncio.gather(*waiting, *more, return_exceptions=True)
