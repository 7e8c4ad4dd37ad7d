"""The admin running on a database of the test's own."""

from collections.abc import AsyncIterator, Iterator

import pytest
import structlog

from core.db import Database
from tests.web_admin.site import Browser, Site, running


@pytest.fixture(autouse=True, scope="session")
def plain_tracebacks() -> Iterator[None]:
    """As in the product: the default prints every local variable, which takes tens of seconds."""
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.processors.add_log_level, renderer])
    yield
    structlog.reset_defaults()


@pytest.fixture
async def site(db: Database, valkey_url: str) -> AsyncIterator[Site]:
    """The admin on a free port."""
    async with running(db, valkey_url) as found:
        yield found


@pytest.fixture
async def owner(site: Site) -> AsyncIterator[Browser]:
    """The owner's browser, signed in."""
    async with site.staff() as browser:
        yield browser
