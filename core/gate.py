"""The gate before a channel with a 24-hour window: looks up what core.window needs, only when the window is shut."""

from core.db import Database
from core.language import heard
from core.messages import text_of
from core.outbox import Delivery
from core.templates import approved
from core.window import ANY_LANGUAGE, Decision, FreeText, decide

LANGUAGE = """
SELECT p.language FROM identity i JOIN person p ON p.id = i.person_id
WHERE i.channel = $1 AND i.account = $2 AND i.provider_id = $3
"""


async def decision(db: Database, delivery: Delivery) -> Decision:
    """What becomes of a claimed message; FreeText without a look at the database while the window is open."""
    standing, kind = delivery.standing, delivery.kind
    if standing is None:
        return FreeText()
    text = text_of(delivery.message.parts)
    if standing.opted_out or standing.is_open(delivery.now):
        return decide(kind, text, standing, delivery.now, ANY_LANGUAGE, ())
    to = delivery.message.recipient
    templates = await approved(db.pool, to.channel, to.account)
    language = await db.pool.fetchval(LANGUAGE, to.channel.value, to.account, to.room) if templates else None
    # A stranger, who gets an invoice, is written to in the language of whoever sends it.
    return decide(kind, text, standing, delivery.now, language or heard(text) or ANY_LANGUAGE, templates)
