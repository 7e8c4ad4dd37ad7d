"""What Temporal keeps, sealed: it is handed no word that a person wrote, in no payload and in no failure.

Parameters, results and failures pass through one key of its own, wrapped as the rooms' keys are; rotating wraps it anew
and leaves histories as they are. What was recorded before there was a codec is read as it stands.
"""

from collections.abc import Sequence
from dataclasses import replace

from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec, default

from core.crypto import Forged, RoomKey

PURPOSE = "temporal"
"""The purpose whose key it is; every payload names it."""
ENCODING = b"binary/mathia-sealed"
WHAT = b"payload"


class SealedPayloads(PayloadCodec):
    """Seals every payload that leaves for Temporal, and opens what comes back."""

    def __init__(self, key: RoomKey) -> None:
        self._key = key

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Each payload whole, its metadata included, in one that says how it is sealed."""
        return [
            Payload(
                metadata={"encoding": ENCODING, "key": PURPOSE.encode()},
                data=self._key.seal(WHAT, payload.SerializeToString()),
            )
            for payload in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """What was sealed, opened. Raises Forged for what was not sealed by us."""
        return [self._open(payload) for payload in payloads]

    def _open(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        try:
            return Payload.FromString(self._key.open(WHAT, payload.data))
        except DecodeError as error:
            raise Forged("It is no payload.") from error


def sealing(key: RoomKey) -> DataConverter:
    """The converter of a client that seals with `key`; failures' messages and traces are payloads too."""
    return replace(
        default(),
        payload_codec=SealedPayloads(key),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )
