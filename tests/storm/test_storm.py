"""Webhooks in disorder while the web process is killed: nothing lost, nothing answered twice, order kept."""

from pathlib import Path

from bot.bench.storm import FAST_RECOVERY, storm
from bot.stand import stand

EVENTS = 300
SENDERS = 20
KILLS = 4


async def test_nothing_is_lost_or_answered_twice(scratch: Path) -> None:
    folder = scratch / "storm"
    folder.mkdir()
    async with stand(folder, durable=False, environment=FAST_RECOVERY) as deployment:
        await deployment.web.start()
        raging, verdict = await storm(deployment, events=EVENTS, senders=SENDERS, kills=KILLS, seed=7)
    assert raging.kills == KILLS
    assert raging.acknowledged >= EVENTS
    assert verdict.passed, verdict
