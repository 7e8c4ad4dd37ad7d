"""Credentials for third parties: a person's own, or the owner's of this deployment, sealed by the list of keys.

They are Fernet tokens under keys derived from the list, with the id of the key beside them; the newest seals, every one
opens, and a rotation seals anew. Fernet knows no associated data, so whose they are and what for stands inside what is
sealed, and is compared: one that was put into another row opens for nobody.
"""

import base64
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import orjson
import structlog
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from core.crypto import Forged, KeyList

log = structlog.get_logger()

PURPOSE = b"credentials"
VALUE_CHARS_MAX = 4_096
"""Of everything in one credential together."""

PUT = """
INSERT INTO credential (person_id, kind, kek, sealed) VALUES ($1, $2, $3, $4)
ON CONFLICT (person_id, kind) DO UPDATE SET kek = excluded.kek, sealed = excluded.sealed, changed_at = clock_timestamp()
"""
STANDS_FOR = "SELECT coalesce(merged_into, id) FROM person WHERE id = $1 FOR KEY SHARE"
FIND = "SELECT sealed FROM credential WHERE person_id IS NOT DISTINCT FROM $1::uuid AND kind = $2"
FORGET = "DELETE FROM credential WHERE person_id IS NOT DISTINCT FROM $1::uuid AND kind = $2 RETURNING id"

OWNER: Final = None
"""Whose they are when they are nobody's in particular: the deployment's own."""


def cipher(keys: KeyList) -> MultiFernet:
    """Seals by the newest key of the list, opens by every one."""
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys.derived(PURPOSE)])


async def put(connection: Any, owner: UUID | None, kind: str, values: Mapping[str, str]) -> None:
    """Keep a credential, in place of the one before. Raises ValueError for one that is too long."""
    if owner is not None:
        # Somebody who became one with another a moment ago: it is sealed with whom it is stored with.
        owner = await connection.fetchval(STANDS_FOR, owner) or owner
    whole = {"owner": _name(owner), "kind": kind, "v": dict(values)}
    if sum(map(len, values.values())) > VALUE_CHARS_MAX:
        raise ValueError(f"A credential has at most {VALUE_CHARS_MAX} characters.")
    keys = connection.keys.key_list
    await connection.execute(PUT, owner, kind, keys.newest, cipher(keys).encrypt(orjson.dumps(whole)))


async def find(connection: Any, owner: UUID | None, kind: str) -> Mapping[str, str] | None:
    """A credential; None where there is none. Raises Forged where what stands there was never sealed for it."""
    sealed = await connection.fetchval(FIND, owner, kind)
    if sealed is None:
        return None
    try:
        whole = orjson.loads(cipher(connection.keys.key_list).decrypt(sealed))
    except InvalidToken:
        whole = {}
    if (whole.get("owner"), whole.get("kind")) != (_name(owner), kind):
        log.error("credential.forged", kind=kind, owner=_name(owner))
        raise Forged("A stored credential is not the one that was sealed here.")
    values: Mapping[str, str] = whole["v"]
    return values


async def forget(connection: Any, owner: UUID | None, kind: str) -> bool:
    """Remove a credential; False where there was none."""
    return await connection.fetchval(FORGET, owner, kind) is not None


def _name(owner: UUID | None) -> str:
    return "deployment" if owner is None else str(owner)
