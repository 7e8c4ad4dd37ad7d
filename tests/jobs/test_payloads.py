"""What Temporal is handed: sealed whole, opened again, and what was recorded plainly before is still read."""

from uuid import UUID

import pytest
from temporalio.api.failure.v1 import Failure
from temporalio.converter import default
from temporalio.exceptions import ApplicationError

from core.crypto import Forged, RoomKey
from jobs.payloads import ENCODING, sealing
from jobs.workflows import ActionCall

KEY = RoomKey(bytes(range(32)), UUID(int=1), 1)
CALL = ActionCall("run-1", "s1", "take_note", {"content": "canary-milk"}, say=True)


async def test_a_payload_shows_nothing_and_opens_as_it_was() -> None:
    converter = sealing(KEY)
    [payload] = await converter.encode([CALL])
    assert (payload.metadata["encoding"], payload.metadata["key"]) == (ENCODING, b"temporal")
    assert b"canary" not in payload.SerializeToString()
    assert b"ActionCall" not in payload.SerializeToString()
    assert await converter.decode([payload], [ActionCall]) == [CALL]


async def test_history_from_before_is_read_as_it_stands() -> None:
    assert await sealing(KEY).decode(await default().encode([CALL]), [ActionCall]) == [CALL]


async def test_a_payload_of_another_key_or_a_changed_one_is_refused() -> None:
    [payload] = await sealing(KEY).encode([CALL])
    other = RoomKey(bytes(range(1, 33)), UUID(int=1), 1)
    with pytest.raises(Forged):
        await sealing(other).decode([payload])
    payload.data = payload.data[:-1] + bytes([payload.data[-1] ^ 1])
    with pytest.raises(Forged):
        await sealing(KEY).decode([payload])


async def test_a_failure_shows_neither_its_message_nor_its_trace() -> None:
    converter, failure = sealing(KEY), Failure()
    try:
        raise ApplicationError("canary-milk", non_retryable=True)
    except ApplicationError as error:
        await converter.encode_failure(error, failure)
    assert b"canary" not in failure.SerializeToString()
    read = await converter.decode_failure(failure)
    assert isinstance(read, ApplicationError)
    assert read.message == "canary-milk"
