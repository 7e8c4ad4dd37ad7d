"""Where the bytes of files lie: a folder on this machine, or a bucket of a service that speaks S3.

What is kept here is sealed before it comes (core/files.py): whoever reads the folder or the bucket reads noise.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog

from core.errors import MathiaError, StoreUnavailable
from core.settings import Settings

if TYPE_CHECKING:
    from obstore.store import ObjectStore

log = structlog.get_logger()

CHECK_S = 10.0
"""How long a process that starts waits for a bucket to say whether it takes what we have."""
CHECKED = "started"
"""The object that is written to find out."""
REFUSED = re.compile(r"status code: 4(?!08|29)")
"""How the library tells of an answer that the same request will get again: R2 says 400 to a key it cannot read."""
KEY_REFUSED = (
    "The bucket for files refuses us. Check R2_ENDPOINT, R2_REGION, R2_ACCESS_KEY_ID and R2_SECRET_ACCESS_KEY, and that"
    " the key may write."
)
REQUEST_S = 20
"""How long one request to a bucket may take."""
RETRIES_MAX = 3
RETRY_S = 30
PART_BYTES = 16 * 1024 * 1024
"""What a large object is sent in; one service takes nothing smaller."""
PARTS_AT_ONCE = 2
"""How many of them are in memory for one object."""


class Missing(MathiaError):
    """There is no such object."""


class StorageRefused(MathiaError):
    """The bucket does not take what our settings say; whoever runs the deployment has to mend them."""


class Storage:
    """Objects by key. Nothing connects, and nothing is imported, before the first use."""

    def __init__(self, settings: Settings) -> None:
        """A bucket with R2_ENABLED, else the folder FILES_DIR."""
        self._settings = settings
        self._made: ObjectStore | None = None

    @property
    def _store(self) -> "ObjectStore":
        if self._made is None:
            from obstore.store import LocalStore, S3Store

            settings = self._settings
            if settings.r2_enabled:
                self._made = S3Store(
                    settings.r2_bucket,
                    endpoint=settings.r2_endpoint,
                    region=settings.r2_region,
                    access_key_id=settings.r2_access_key_id,
                    secret_access_key=settings.r2_secret_access_key.get_secret_value(),
                    virtual_hosted_style_request=False,
                    client_options={"allow_http": True, "timeout": timedelta(seconds=REQUEST_S)},
                    retry_config={"max_retries": RETRIES_MAX, "retry_timeout": timedelta(seconds=RETRY_S)},
                )
            else:
                self._made = LocalStore(settings.files_dir, mkdir=True)
        return self._made

    async def check(self) -> None:
        """Write into a bucket what every process writes when it starts; raises StorageRefused with what to mend.

        A bucket that does not answer is logged and no more: it may be back before the first file.
        """
        if not self._settings.r2_enabled:
            return
        import obstore
        from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError

        try:
            async with asyncio.timeout(CHECK_S):
                await obstore.put_async(self._store, CHECKED, b"")
        except (NotFoundError, FileNotFoundError) as error:
            raise StorageRefused(f"There is no bucket {self._settings.r2_bucket}. Check R2_BUCKET.") from error
        except (PermissionDeniedError, UnauthenticatedError, PermissionError) as error:
            raise StorageRefused(KEY_REFUSED) from error
        except (OSError, BaseError, TimeoutError) as error:
            if REFUSED.search(str(error)):
                raise StorageRefused(KEY_REFUSED) from error
            log.warning("storage.away", error=type(error).__name__)

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        """Keep an object: whole, or not at all when something fails on the way. Raises StoreUnavailable."""
        import obstore

        try:
            async with _translated():
                await obstore.put_async(self._store, key, chunks, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)
        except Missing as error:
            raise StoreUnavailable("The bucket for files is not there. Check R2_BUCKET.") from error

    async def read(self, key: str, start: int, end: int) -> bytes:
        """The bytes from `start` up to `end`, fewer where the object ends. Raises Missing, StoreUnavailable."""
        import obstore

        async with _translated():
            return bytes(await obstore.get_range_async(self._store, key, start=start, end=end))

    async def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error. Raises StoreUnavailable."""
        import obstore

        try:
            async with _translated():
                await obstore.delete_async(self._store, key)
        except Missing:
            return


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    """The library's errors as ours."""
    from obstore.exceptions import BaseError, NotFoundError

    try:
        yield
    except (FileNotFoundError, NotFoundError) as error:
        raise Missing("There is no such file.") from error
    except (OSError, BaseError) as error:
        raise _away(error) from error


def _away(error: Any) -> StoreUnavailable:
    # The text of the error may hold an address with a signature in it.
    return StoreUnavailable(f"The file storage did not answer ({type(error).__name__}). Try again in a moment.")
