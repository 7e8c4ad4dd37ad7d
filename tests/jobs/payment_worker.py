"""The work on payments as a process that a test kills: python -m tests.jobs.payment_worker, told by the environment."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from connectors.intasend.client import IntaSend
from core.breaker import Breaker
from core.db import Database
from core.providers import Providers
from core.settings import Settings
from core.wake import Wakes
from jobs.payments import PAYMENTS, Hands, pay
from jobs.sweeps import Waiting, sweep_waiting
from tests.jobs.till import QUICK

LEASE = timedelta(seconds=2)
PACE = replace(QUICK, until=timedelta(minutes=5), certain=timedelta(seconds=2))
"""A machine that is busy may not be taken for a provider that is silent."""
AT_ONCE = 4


async def main() -> None:
    """Work until killed."""
    settings = Settings().sandboxed()
    db = await Database.connect(settings.database_url, settings.key_list)
    providers = Providers(settings, backoff_s=0.01)
    provider = IntaSend(providers, settings)
    providers.client("IntaSend", settings.intasend_base_url).breaker = Breaker(failures_max=1_000_000)
    hands = Hands(db, Wakes(db), provider, lease=LEASE, pace=PACE)
    places = asyncio.Semaphore(AT_ONCE)

    async def one(row_id: int) -> None:
        async with places:
            await pay(hands, row_id)

    async def hand_out(row_ids: Sequence[int]) -> None:
        await asyncio.gather(*(one(row_id) for row_id in random.sample(row_ids, len(row_ids))))

    quick = Waiting(PAYMENTS.name, PAYMENTS.claimable, again_s=0.1)
    await sweep_waiting(db, hands.wakes, quick, hand_out)


if __name__ == "__main__":
    asyncio.run(main())
