"""Opting out and in again: one word as a whole message on a channel where the provider's rules ask for it.

Who it is comes from the identity that wrote, never from the text; other channels of the same person are not touched.
"""

from typing import Any
from uuid import UUID

from core.db import Database
from core.messages import Address

STOP_WORDS = frozenset({"stop", "unsubscribe", "acha"})
LEAVE_WORDS = frozenset({"acha"})
"""Those that mean "leave it" in the middle of something, and opt out only where nothing is open."""
START_WORDS = frozenset({"start", "anza"})
STOPPED = {
    "en": "You will get no more messages from us on WhatsApp. Write START to begin again.",
    "sw": "Hutapata tena ujumbe wetu kwenye WhatsApp. Andika ANZA ili kuanza tena.",
}
STARTED = {
    "en": "Welcome back. You will get our messages on WhatsApp again.",
    "sw": "Karibu tena. Utapata ujumbe wetu kwenye WhatsApp kama awali.",
}

OPEN_TURN = "SELECT FROM turn WHERE id = $1 AND attempt = $2 AND state = 'open' FOR NO KEY UPDATE"

IDENTITY = "SELECT id FROM identity WHERE channel = $1 AND account = $2 AND provider_id = $3"

STOP = """
INSERT INTO opt_out AS x (identity_id, how, turn_id) VALUES ($1, $2, $3)
ON CONFLICT (identity_id) DO UPDATE
SET at = clock_timestamp(), how = excluded.how, turn_id = excluded.turn_id, ended_at = NULL
WHERE x.ended_at IS NOT NULL
RETURNING 1
"""

START = """
UPDATE opt_out SET ended_at = clock_timestamp(), turn_id = $2 WHERE identity_id = $1 AND ended_at IS NULL RETURNING 1
"""

AUDIT = "INSERT INTO audit (actor, verb, subject, detail) VALUES ($1, $2, $3, $4)"


def word(text: str, *, in_the_middle: bool = False) -> str | None:
    """'stop' or 'start' when the whole message is such a word, in whatever case and with whatever points around it.

    `in_the_middle` says that something is open which the person may want to leave.
    """
    bare = text.strip().strip(".!'\"").strip().casefold()
    if in_the_middle and bare in LEAVE_WORDS:
        return None
    return "stop" if bare in STOP_WORDS else "start" if bare in START_WORDS else None


async def stop(db: Database, sender: Address, turn_id: int, attempt: int) -> bool:
    """Opt the sender out, in a turn that is still open under `attempt`; its answer is the last thing they get.

    False when they had opted out before in another turn, or this one is somebody else's by now: nothing is said then.
    """
    async with db.hot() as connection:
        if await connection.fetchrow(OPEN_TURN, turn_id, attempt) is None:
            return False
        identity = await _identity(connection, sender)
        if await _stopped(connection, identity, "word", turn_id):
            return True
        said_in = await connection.fetchval("SELECT turn_id FROM opt_out WHERE identity_id = $1", identity)
        return bool(said_in == turn_id)


async def start(db: Database, sender: Address, turn_id: int, attempt: int) -> bool:
    """Opt the sender in again, in a turn that is still open under `attempt`; False when they had not opted out."""
    async with db.hot() as connection:
        if await connection.fetchrow(OPEN_TURN, turn_id, attempt) is None:
            return False
        identity = await _identity(connection, sender)
        if await connection.fetchval(START, identity, turn_id) is not None:
            await _audit(connection, identity, "opt_out.ended", {"how": "word"})
            return True
        # The same turn, answered again after it died between the two commits, is told the same.
        asked = "SELECT 1 FROM opt_out WHERE identity_id = $1 AND ended_at IS NOT NULL AND turn_id = $2"
        return await connection.fetchval(asked, identity, turn_id) is not None


async def stopped_by_provider(db: Database, recipient: Address) -> None:
    """The provider says that this person opted out."""
    async with db.hot() as connection:
        identity = await connection.fetchval(IDENTITY, recipient.channel.value, recipient.account, recipient.room)
        if identity is not None:
            await _stopped(connection, identity, "provider", None)


async def _identity(connection: Any, sender: Address) -> UUID:
    identity: UUID = await connection.fetchval(IDENTITY, sender.channel.value, sender.account, sender.person)
    return identity


async def _stopped(connection: Any, identity: UUID, how: str, turn_id: int | None) -> bool:
    if await connection.fetchval(STOP, identity, how, turn_id) is None:
        return False
    await _audit(connection, identity, "opt_out.began", {"how": how})
    return True


async def _audit(connection: Any, identity: UUID, verb: str, detail: dict[str, str]) -> None:
    await connection.execute(AUDIT, f"identity:{identity}", verb, f"identity:{identity}", detail)
