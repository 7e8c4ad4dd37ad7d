"""A person's e-mail address: used only once its owner has sent back the code that was mailed to it."""

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit, mailboxes, people
from core.db import driver
from core.errors import LimitReached, UserError
from core.language import Saying
from core.messages import ChannelName, Text
from core.models import Conversation, EmailCode, Identity
from core.outbox import NewMessage, post

CODE_LIFE = timedelta(minutes=30)
CODE_DIGITS = 6
TRIES_MAX = 5
"""Wrong codes until a mailed one is no longer good."""
MAILS_MAX = 5
"""Codes mailed for one person, and to one address, within MAILS_WITHIN: guesses and unwanted mails stay few."""
MAILS_WITHIN = timedelta(days=1)

ENOUGH = Saying(
    "That is enough codes for one day. Try again tomorrow.", "Nambari hizo zinatosha kwa leo. Jaribu tena kesho."
)
NONE_WAITS = Saying(
    "I am not waiting for a code. Tell me your e-mail address first, like: my e-mail is …",
    "Singoji nambari yoyote. Niambie anwani yako ya barua pepe kwanza, kama: barua pepe yangu ni …",
)
MAIL = {
    "en": "Your code for Mathia is {code}\n\nSend it to me in our chat within 30 minutes. If you did not ask for it, "
    "somebody mistyped their address: you need not do anything.",
    "sw": "Nambari yako ya Mathia ni {code}\n\nNitumie kwenye gumzo letu ndani ya dakika 30. Kama hukuiomba, mtu "
    "alikosea anwani yake: huna haja ya kufanya lolote.",
}


async def mail_code(
    session: AsyncSession, person_id: UUID, conversation_id: UUID, address: str, *, account: str, language: str,
    now: datetime, key: str,
) -> None:  # fmt: skip
    """Mail a new code to an address, once a `key`; earlier codes of this person end. Raises LimitReached.

    `account` is our own mailbox.
    """
    owner = await people.hold(session, person_id)
    if await session.scalar(select(EmailCode.id).where(EmailCode.key == key)) is not None:
        return
    connection = await driver(session)
    mailbox = await mailboxes.name_of(connection, address)
    for mine in (EmailCode.person_id == owner, EmailCode.address == mailbox):
        recent = select(func.count()).select_from(EmailCode).where(mine, EmailCode.created_at > now - MAILS_WITHIN)
        if (await session.scalar(recent) or 0) >= MAILS_MAX:
            raise LimitReached(ENOUGH)
    await session.execute(
        update(EmailCode).where(EmailCode.person_id == owner, EmailCode.ended_at.is_(None)).values(ended_at=now)
    )
    await mailboxes.keep(connection, address)
    code = f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}}"
    made = uuid4()
    session.add(
        EmailCode(
            id=made, person_id=owner, conversation_id=conversation_id, address=mailbox, code_hash=_hash(made, code),
            created_at=now, expires_at=now + CODE_LIFE, key=key,
        )
    )  # fmt: skip
    await session.flush()
    room = insert(Conversation).values(id=uuid4(), channel=ChannelName.EMAIL, account=account, room=mailbox)
    await session.execute(room.on_conflict_do_nothing())
    mail = (
        await session.execute(
            select(Conversation.id).where(
                Conversation.channel == ChannelName.EMAIL, Conversation.account == account, Conversation.room == mailbox
            )
        )
    ).scalar_one()
    text = MAIL[language if language in MAIL else "en"].format(code=code)
    await post(connection, [NewMessage(mail, (Text(text=text),), "code", f"email_code:{made}")])


async def confirm(
    session: AsyncSession, person_id: UUID, code: str, *, account: str, now: datetime, key: str
) -> str | None:
    """Make an address this person's with the code mailed to it; the address, or None for a wrong or late code.

    Raises UserError when no code is waited for. Whoever can read the mailbox has the address, and nobody else.
    """
    owner = await people.hold(session, person_id)
    earlier = await session.scalar(select(EmailCode).where(EmailCode.used_key == key))
    if earlier is not None:
        return await _address(session, earlier)
    waiting = await session.scalar(
        select(EmailCode)
        .where(EmailCode.person_id == owner, EmailCode.ended_at.is_(None))
        .order_by(EmailCode.created_at.desc())
        .limit(1)
        .with_for_update()
    )
    if waiting is None:
        raise UserError(NONE_WAITS)
    if waiting.expires_at <= now or not hmac.compare_digest(waiting.code_hash, _hash(waiting.id, code)):
        waiting.tries += 1
        if waiting.tries >= TRIES_MAX or waiting.expires_at <= now:
            waiting.ended_at = now
        return None
    waiting.ended_at, waiting.used_key = now, key
    statement = insert(Identity).values(
        id=uuid4(), person_id=owner, channel=ChannelName.EMAIL, account=account, provider_id=waiting.address,
        verified_at=now, conversation_id=waiting.conversation_id,
    )  # fmt: skip
    identity = await session.scalar(
        statement.on_conflict_do_update(
            index_elements=["channel", "account", "provider_id"],
            set_={name: statement.excluded[name] for name in ("person_id", "verified_at", "conversation_id")},
        ).returning(Identity.id)
    )
    await audit.record(session, f"person:{owner}", "email.verified", f"identity:{identity}", {"person": str(owner)})
    return await _address(session, waiting)


async def _address(session: AsyncSession, code: EmailCode) -> str:
    """The address a code was mailed to, which is kept as long as the code is."""
    return (await mailboxes.addresses(await driver(session), [code.address]))[code.address]


def _hash(salt: UUID, code: str) -> bytes:
    return hashlib.sha256(salt.bytes + code.encode()).digest()
