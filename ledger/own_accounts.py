"""Accounts with the payment provider that are a person's own: what goes to and from them is not ours to hold.

Whoever has given keys of their own is paid into their own account, and pays from what came into it through us. The
keys are sealed (core/credentials.py), under the account that they open, so that a payment is asked after with the keys
it was made with, also when the person has others by then.
"""

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from core import credentials
from core.errors import Conflict, UserError

KIND: Final = "intasend"
ACCOUNT_CHARS = 12
KEY = re.compile(r"IS(PubKey|SecretKey)_(test|live)_[A-Za-z0-9-]{4,80}")

KINDS = "SELECT kind FROM credential WHERE person_id = $1 AND kind LIKE 'intasend:%' ORDER BY kind LIMIT $2"
KINDS_MAX = 100
HAS_OPEN = """
SELECT EXISTS (SELECT FROM payment_instruction WHERE person_id = $1 AND account IS NOT NULL
               AND state NOT IN ('succeeded', 'complete', 'late', 'failed'))
"""


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """The keys of an account; `account` names it here, and says nothing to others."""

    account: str
    publishable: str
    secret: str = field(repr=False)
    is_live: bool


def read(publishable: str, secret: str, *, is_live: bool) -> OwnKeys:
    """Keys as somebody typed them. Raises UserError where they are none, or are mixed up; it never repeats one.

    `is_live` is whether this deployment moves real money: keys of the sandbox go with a sandbox alone.
    """
    found = KEY.fullmatch(publishable.strip()), KEY.fullmatch(secret.strip())
    if found[0] is None or found[1] is None or (found[0][1], found[1][1]) != ("PubKey", "SecretKey"):
        raise UserError("These are no keys of IntaSend: they begin with ISPubKey_ and ISSecretKey_.")
    if found[0][2] != found[1][2]:
        raise UserError("One key is of the sandbox and the other is live.")
    if (found[0][2] == "live") != is_live:
        raise UserError(
            "These keys are of the sandbox, and this deployment moves real money."
            if is_live
            else "These keys are live, and this deployment only plays: it takes keys of the sandbox."
        )
    return OwnKeys(_account(found[0][0]), found[0][0], found[1][0], is_live)


async def give(connection: Any, person_id: UUID, keys: OwnKeys) -> None:
    """Have what is paid to this person, and by them, go through their own account from now on."""
    values = {"publishable": keys.publishable, "secret": keys.secret}
    await credentials.put(connection, person_id, f"{KIND}:{keys.account}", values)
    await credentials.put(connection, person_id, KIND, {"account": keys.account})


async def forget(connection: Any, person_id: UUID) -> bool:
    """Forget all keys of this person; False where there are none. Raises Conflict while a payment needs them."""
    if await connection.fetchval(HAS_OPEN, person_id):
        raise Conflict("A payment through this account is under way. Wait until it is over.")
    for row in await connection.fetch(KINDS, person_id, KINDS_MAX):
        await credentials.forget(connection, person_id, row["kind"])
    return await credentials.forget(connection, person_id, KIND)


async def account_of(connection: Any, person_id: UUID) -> str | None:
    """The account that this person's payments go through; None for ours."""
    found = await credentials.find(connection, person_id, KIND)
    return None if found is None else found["account"]


async def keys_of(connection: Any, person_id: UUID, account: str) -> OwnKeys | None:
    """The keys of an account of this person; None where they have been forgotten. Raises Forged."""
    found = await credentials.find(connection, person_id, f"{KIND}:{account}")
    if found is None or _account(found["publishable"]) != account:
        return None
    return OwnKeys(account, found["publishable"], found["secret"], "_live_" in found["publishable"])


def _account(publishable: str) -> str:
    return hashlib.sha256(publishable.encode()).hexdigest()[:ACCOUNT_CHARS]
