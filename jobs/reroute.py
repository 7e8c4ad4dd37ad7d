"""What follows a refusal: a reminder or a workflow's word that its channel refused goes by e-mail, or staff are told.

One that WhatsApp's window holds goes by e-mail too where it can; else it stays held, and a template may announce it.

The owner of what was refused decides where it goes: the person who set the reminder or made the workflow, never
whoever else is in the room.
"""

from typing import Any
from uuid import UUID, uuid4

import structlog

from core.db import Database
from core.language import Saying
from core.messages import ChannelName, Text
from core.outbox import ERASED, NewMessage, post
from core.sealed import COLUMNS, opened_parts
from core.templates import approved
from core.wake import Wakes
from core.window import ANY_LANGUAGE, pick
from jobs import invoices

log = structlog.get_logger()

FOLLOW_UPS_MAX = 5
"""Tries of one follow-up; more mean that it kills its worker, and staff should look."""
NAMES = {
    "whatsapp": Saying("WhatsApp", "WhatsApp"), "telegram": Saying("Telegram", "Telegram"),
    "web": Saying("the web page", "ukurasa wa wavuti"), "email": Saying("e-mail", "barua pepe"),
}  # fmt: skip
UNREACHED = Saying(
    "We could not reach you on {channel}, so this comes by e-mail.",
    "Hatukuweza kukupata kwa {channel}, kwa hiyo ujumbe huu unakuja kwa barua pepe.",
)

BEGIN = """
UPDATE outbox SET follow_ups = follow_ups + 1
WHERE id = $1 AND state IN ('refused', 'held') AND followed_up_at IS NULL
RETURNING follow_ups
"""

CLAIM = f"""
UPDATE outbox o SET followed_up_at = clock_timestamp()
FROM message m, conversation c
WHERE o.id = $1 AND o.state IN ('refused', 'held') AND o.followed_up_at IS NULL AND m.id = o.id
  AND c.id = o.conversation_id
RETURNING o.kind, o.channel, {COLUMNS}, o.state, o.held_seq, c.account
"""
NOT_HELD = """
UPDATE outbox SET state = 'refused', error = 'More than 24 hours had passed since the person last wrote on WhatsApp;'
       ' it went by e-mail.' WHERE id = $1
"""

OWNER = {
    "reminder": "SELECT person_id FROM reminder WHERE id::text = $1",
    "workflow": "SELECT d.person_id FROM workflow_run r JOIN workflow_definition d ON d.id = r.definition_id"
    " WHERE r.workflow_id = $1",
}

ADDRESS = """
SELECT i.id, i.account, i.provider_id, p.language FROM identity i JOIN person p ON p.id = i.person_id
WHERE i.person_id = $1 AND i.channel = 'email' AND i.verified_at IS NOT NULL
ORDER BY i.verified_at DESC, i.id LIMIT 1
"""

OPEN_ROOM = """
INSERT INTO conversation AS c (id, channel, account, room) VALUES ($1, 'email', $2, $3)
ON CONFLICT (channel, account, room) DO UPDATE SET room = c.room
RETURNING id
"""


async def follow_up(db: Database, wakes: Wakes, outbox_id: int, *, can_mail: bool) -> None:
    """Take care of one refused message; of any number of calls, at once or later, one has an effect."""
    tries = await db.pool.fetchval(BEGIN, outbox_id)
    if tries is None:
        return
    if tries > FOLLOW_UPS_MAX:
        await _give_up(db, outbox_id, f"Its follow-up failed {FOLLOW_UPS_MAX} times.")
        return
    async with db.hot() as connection:
        row = await connection.fetchrow(CLAIM, outbox_id)
        if row is None:
            return
        if row["kind"] == invoices.KIND:
            problem = await invoices.undelivered(connection, row)
        else:
            problem = await _reroute(connection, outbox_id, row, can_mail=can_mail)
        held = row["state"] == "held"
        if problem is None and held:
            await connection.execute(NOT_HELD, outbox_id)
        elif problem is not None and (not held or row["kind"] in OWNER):
            await _note(connection, outbox_id, problem)
        if problem is not None and held:
            await _announce(connection, row)
        await wakes.notify(connection, "outbox")
    wakes.wake("outbox")
    by = "email" if problem is None else "waiting" if held else "staff"
    log.info("follow_up.done", outbox_id=outbox_id, by=by)


async def _reroute(connection: Any, outbox_id: int, row: Any, *, can_mail: bool) -> str | None:
    """Write the e-mail; None when that is done, else why it cannot be, for staff."""
    [said] = await opened_parts(connection.keys, connection, [row])
    if said is None:
        return ERASED
    if not can_mail:
        return "It could not go by e-mail: no mail server is set up (SMTP_HOST)."
    if row["kind"] not in OWNER:
        return "Nothing else is done for messages of this kind."
    owner = await connection.fetchval(OWNER[row["kind"]], _owed_by(row["kind"], row["dedup_key"]))
    address = await connection.fetchrow(ADDRESS, owner) if owner is not None else None
    if address is None:
        return "It could not go by e-mail: the person has given no address."
    conversation_id: UUID = await connection.fetchval(OPEN_ROOM, uuid4(), address["account"], address["provider_id"])
    if conversation_id == row["conversation_id"]:
        return "E-mail was the channel that refused it; there is no other."
    await connection.execute(
        "INSERT INTO member (conversation_id, identity_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        conversation_id,
        address["id"],
    )
    why = UNREACHED.filled(channel=NAMES[row["channel"]]).to(address["language"])
    parts = (*said, Text(text=why))
    await post(connection, [NewMessage(conversation_id, parts, "rerouted", f"reroute:{outbox_id}")])
    return None


async def _announce(connection: Any, row: Any) -> None:
    """Tell a person by template, once until they write, that something is held for them; if there is such a one."""
    templates = await approved(connection, ChannelName(row["channel"]), row["account"])
    notice = pick("notice", ANY_LANGUAGE, templates)
    if notice is None:
        return
    key = f"notice:{row['conversation_id']}:{row['held_seq']}"
    await post(connection, [NewMessage(row["conversation_id"], (Text(text=notice.body),), "notice", key)])


async def _give_up(db: Database, outbox_id: int, problem: str) -> None:
    async with db.hot() as connection:
        if await connection.fetchrow(CLAIM, outbox_id) is not None:
            await _note(connection, outbox_id, problem)
            log.error("follow_up.given_up", outbox_id=outbox_id)


async def _note(connection: Any, outbox_id: int, problem: str) -> None:
    """Add a sentence to what staff read of this message."""
    await connection.execute(
        "UPDATE outbox SET error = concat_ws(' ', nullif(error, ''), $2::text) WHERE id = $1", outbox_id, problem
    )


def _owed_by(kind: str, dedup_key: str) -> str:
    """The reminder or run behind a message. Keys are reminder:ID:DUE and workflow:RUN:STEP; DUE and RUN hold colons."""
    rest = dedup_key.partition(":")[2]
    return rest.partition(":")[0] if kind == "reminder" else rest.rpartition(":")[0]
