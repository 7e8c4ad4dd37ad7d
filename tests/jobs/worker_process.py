"""A Temporal worker as a process that a test may crash: python -m tests.jobs.worker_process TASK_QUEUE."""

import asyncio
import sys

from core.db import Database
from core.providers import Providers
from core.settings import Settings
from core.wake import Wakes
from jobs.temporal import run_temporal
from tests.jobs.people import catalog


async def main(task_queue: str) -> None:
    """Serve the task queue until killed."""
    settings = Settings().sandboxed()
    db = await Database.connect(settings.database_url, settings.key_list)
    await run_temporal(settings, db, Wakes(db), catalog(settings), Providers(settings), task_queue=task_queue)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
