"""Confirmations: what an action would do is shown by code, and done when the person types back the code shown with it.

What was shown is frozen and sealed with its confirmation, and what is done is read from there. It is used once, within
LIFE, by the identity that was shown it, in its own room; a new one ends the one before it. An action that moves money
uses it itself (`use`), in the transaction that moves it: both are so, or neither.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID, uuid4

import structlog
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit, people
from core.db import driver
from core.errors import LimitReached
from core.language import Saying, spoken
from core.linking import find_identity
from core.messages import Address, ChannelName, Choices, Part
from core.models import Confirmation

log = structlog.get_logger()

LIFE = timedelta(minutes=10)
CODE_DIGITS = 5
TRIES_MAX = 5
"""Wrong codes until a confirmation is locked."""
SHOWN_MAX = 10
"""Confirmations shown to one identity within SHOWN_WITHIN, so that guessing gets fifty tries an hour in 100,000."""
SHOWN_WITHIN = timedelta(hours=1)

BUTTONS: Final = {"en": "Yes", "sw": "Ndiyo"}
BUTTON = re.compile(rf"(?:(?:{'|'.join(BUTTONS.values())}) · )?([0-9]{{{CODE_DIGITS}}})")
NO = re.compile(r"(?:cancel|no|stop|don't|acha|hapana|ghairi|sitisha)[.!]?", re.IGNORECASE)

OFTEN: Final = Saying(
    "You have asked for that often within an hour. Ask again in a while.",
    "Umeomba hilo mara nyingi ndani ya saa moja. Omba tena baada ya muda.",
)
HOW: Final = {
    "en": "To go on, type this code here within 10 minutes: {code}\nTo leave everything as it is, say “cancel”.",
    "sw": "Kuendelea, andika nambari hii hapa ndani ya dakika 10: {code}\nKuacha kila kitu kilivyo, sema “ghairi”.",
}
HOW_BY_PIN: Final = {
    "en": "This is confirmed with your PIN, on your account page, within 10 minutes. The link opens once: {link}\n"
    "To leave everything as it is, say “cancel”.",
    "sw": "Hili huthibitishwa kwa PIN yako, kwenye ukurasa wa akaunti yako, ndani ya dakika 10. Kiungo hufunguka mara"
    " moja: {link}\nKuacha kila kitu kilivyo, sema “ghairi”.",
}
PRIVATE: Final = {
    "en": "Let us do that in private: write to me directly, not in a group.",
    "sw": "Tufanye hilo faraghani: niandikie moja kwa moja, si kwenye kikundi.",
}


USE = """
WITH used AS (
    UPDATE confirmation SET state = 'used', ended_at = $5, used_key = $2
    WHERE id = $1 AND action = $3 AND person_id = $4 AND state = 'pending' AND expires_at > $5
    RETURNING id, person_id, action
), noted AS (
    INSERT INTO audit (actor, verb, subject, detail)
    SELECT 'person:' || person_id, 'confirmation.used', 'confirmation:' || id, jsonb_build_object('action', action)
    FROM used
)
SELECT EXISTS (SELECT FROM used) OR EXISTS (
    SELECT FROM confirmation WHERE id = $1 AND action = $3 AND person_id = $4 AND state = 'used' AND used_key = $2
)
"""
WAITS_FOR_PIN = """
SELECT id, action, params, shown, conversation_id, expires_at FROM confirmation
WHERE identity_id = $1 AND state = 'pending' AND by_pin AND expires_at > $2
"""
GIVEN = """
SELECT c.id, c.action, c.params, c.conversation_id, c.person_id, i.channel, i.account, i.provider_id
FROM confirmation c JOIN identity i ON i.id = c.identity_id AND i.person_id = c.person_id
WHERE c.id = $1 AND c.state = 'used'
"""
END = "UPDATE confirmation SET state = 'cancelled', ended_at = clock_timestamp() WHERE id = $1 AND state = 'pending'"


class Outcome(StrEnum):
    """What became of a typed code, or of a no."""

    CONFIRMED = "confirmed"
    WRONG = "wrong"
    LOCKED = "locked"
    OVER = "over"
    """The code was good once: it is late, used, or of a confirmation that a newer one took the place of."""
    CANCELLED = "cancelled"


ENDED: Final = frozenset({Outcome.CANCELLED, Outcome.LOCKED})
"""Outcomes after which nothing is confirmed any more."""

SAID: Final = {
    "en": {
        Outcome.WRONG: "That is not the code. Nothing has happened; look at it again and type it.",
        Outcome.LOCKED: "That was too many wrong codes, so nothing will happen. Ask for it again if you want it.",
        Outcome.OVER: "That code is no longer good. Ask for it again for a new one.",
        Outcome.CANCELLED: "All right. Nothing has happened.",
    },
    "sw": {
        Outcome.WRONG: "Hiyo si nambari yenyewe. Hakuna kilichofanyika; iangalie tena kisha uiandike.",
        Outcome.LOCKED: "Umekosea nambari mara nyingi, kwa hiyo hakuna kitakachofanyika. Omba tena ukitaka.",
        Outcome.OVER: "Nambari hiyo haifanyi kazi tena. Omba tena upate mpya.",
        Outcome.CANCELLED: "Sawa. Hakuna kilichofanyika.",
    },
}


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of it. Once confirmed, what is done: the action, and its parameters as JSON, as they were shown."""

    outcome: Outcome
    id: UUID
    action: str = ""
    params: bytes = b""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for a PIN on the account page: the action, its parameters as JSON, and what was shown of it."""

    id: UUID
    action: str
    params: bytes
    shown: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Given:
    """A used confirmation: its parameters as JSON, by whom, from where, and the private chat that showed it."""

    params: bytes
    person_id: UUID
    sender: Address
    conversation_id: UUID


def typed(text: str) -> str | None:
    """The code that is the whole of a message or is in the button that was pressed, or "no"; else None. Pure."""
    bare = text.strip()
    if (found := BUTTON.fullmatch(bare)) is not None:
        return found[1]
    return "no" if NO.fullmatch(bare) else None


def of_button(parts: Sequence[Part]) -> str | None:
    """The code in the button of a prompt that we sent; None for what has none. Pure."""
    options = (option for part in parts if isinstance(part, Choices) for option in part.options)
    return next((found[1] for option in options if " · " in option and (found := BUTTON.fullmatch(option))), None)


async def ask(
    session: AsyncSession, sender: Address, conversation_id: UUID, action: str, params: bytes, now: datetime,
    *, by_pin: str | None = None,
) -> str:  # fmt: skip
    """Keep what is to be confirmed, which ends what was before; the code to show with it. Raises LimitReached.

    What is given as `by_pin` is shown on the account page and confirmed there: then no code does.
    """
    identity = await find_identity(session, sender)
    person = await _person(session, identity)
    shown = select(func.count()).where(
        Confirmation.identity_id == identity, Confirmation.created_at > now - SHOWN_WITHIN
    )
    if (await session.scalar(shown) or 0) >= SHOWN_MAX:
        raise LimitReached(OFTEN)
    await people.end_confirmations(session, person)
    code = f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}}" if by_pin is None else secrets.token_urlsafe()
    made = uuid4()
    connection = await driver(session)
    key = await connection.keys.of(connection, conversation_id)
    session.add(
        Confirmation(
            id=made, person_id=person, identity_id=identity, conversation_id=conversation_id, action=action,
            params=key.seal(_as_params(made, action), params), code_hash=_hash(made, code), created_at=now,
            expires_at=now + LIFE, by_pin=by_pin is not None,
            shown=key.seal(_as_shown(made), by_pin.encode()) if by_pin is not None else None,
        )
    )  # fmt: skip
    await session.flush()
    return code


async def answer(
    session: AsyncSession, sender: Address, said: str, now: datetime, key: str, *, leave: Container[str] = ()
) -> Answered | None:
    """Take a typed code or "no" from a private chat; None when nothing there waits for one.

    With the same `key` again, the same confirmation. Those of the actions `leave` are not used here: they do so.
    """
    identity = await find_identity(session, sender)
    earlier = await session.scalar(
        select(Confirmation).where(Confirmation.used_key == key, Confirmation.identity_id == identity)
    )
    if earlier is not None:
        return await _confirmed(session, earlier)
    await _person(session, identity)
    waiting = await session.scalar(
        select(Confirmation)
        .where(Confirmation.identity_id == identity, Confirmation.state == "pending", Confirmation.expires_at > now)
        .with_for_update()
    )
    if waiting is None:
        return None if said == "no" else await _over(session, identity, said, now)
    if said == "no":
        waiting.state, waiting.ended_at = "cancelled", now
        return Answered(Outcome.CANCELLED, waiting.id)
    if waiting.by_pin:
        return await _over(session, identity, said, now)
    if hmac.compare_digest(waiting.code_hash, _hash(waiting.id, said)):
        if waiting.action not in leave:
            await use(await driver(session), waiting.id, key, waiting.action, waiting.person_id, now)
        return await _confirmed(session, waiting)
    waiting.tries += 1
    if waiting.tries < TRIES_MAX:
        return await _over(session, identity, said, now) or Answered(Outcome.WRONG, waiting.id)
    waiting.state, waiting.ended_at = "locked", now
    log.warning("confirmation.locked", confirmation_id=str(waiting.id), action=waiting.action)
    subject = f"confirmation:{waiting.id}"
    await audit.record(session, f"person:{waiting.person_id}", "confirmation.locked", subject)
    return Answered(Outcome.LOCKED, waiting.id)


async def use(connection: Any, id_: UUID, key: str, action: str, person_id: UUID, now: datetime) -> bool:
    """Use a confirmation of this action by this person, in the caller's transaction; False where it cannot be.

    With the `key` that it was used by it is used still, however late.
    """
    used: bool = await connection.fetchval(USE, id_, key, action, person_id, now)
    return used


async def waits_for_pin(session: AsyncSession, identity: UUID, now: datetime) -> Waiting | None:
    """What an identity was shown to confirm on the account page, while it can be."""
    connection = await driver(session)
    row = await connection.fetchrow(WAITS_FOR_PIN, identity, now)
    if row is None:
        return None
    params, shown = await connection.keys.opened(
        connection,
        [
            (row["conversation_id"], _as_params(row["id"], row["action"]), row["params"]),
            (row["conversation_id"], _as_shown(row["id"]), row["shown"]),
        ],
    )
    if params is None or shown is None:
        return None
    return Waiting(row["id"], row["action"], params, shown.decode(), row["expires_at"])


async def is_by_pin(connection: Any, id_: UUID) -> bool:
    """Whether a confirmation is one of the account page."""
    by_pin: bool = await connection.fetchval("SELECT by_pin FROM confirmation WHERE id = $1", id_) or False
    return by_pin


async def given(connection: Any, id_: UUID) -> Given | None:
    """A used confirmation; None where its room's key is gone, or whoever gave it is another person's by now."""
    row = await connection.fetchrow(GIVEN, id_)
    if row is None:
        return None
    what = row["conversation_id"], _as_params(row["id"], row["action"]), row["params"]
    [params] = await connection.keys.opened(connection, [what])
    if params is None:
        return None
    # It is shown in one-to-one rooms alone, which are called as whoever is in them.
    sender = Address(ChannelName(row["channel"]), row["account"], row["provider_id"], row["provider_id"])
    return Given(params, row["person_id"], sender, row["conversation_id"])


async def end(connection: Any, id_: UUID) -> None:
    """End a confirmation that was right and came to nothing: what it was for is asked for again."""
    await connection.execute(END, id_)


def button(code: str, language: str) -> str:
    """What confirms something small when it is pressed: it has the code, and so does it for one confirmation alone."""
    return f"{BUTTONS[spoken(language)]} · {code}"


def say(outcome: Outcome, language: str) -> str:
    """What a person is told of an outcome that is not yet the thing done."""
    return SAID[spoken(language)][outcome]


async def _confirmed(session: AsyncSession, confirmation: Confirmation) -> Answered | None:
    """What was shown, out of the confirmation itself; None where its room's key is gone."""
    connection = await driver(session)
    what = confirmation.conversation_id, _as_params(confirmation.id, confirmation.action), confirmation.params
    [params] = await connection.keys.opened(connection, [what])
    if params is None:
        return None
    return Answered(Outcome.CONFIRMED, confirmation.id, confirmation.action, params)


async def _over(session: AsyncSession, identity: UUID, said: str, now: datetime) -> Answered | None:
    """Whether this was the code of a confirmation that is over."""
    recent = await session.scalars(
        select(Confirmation)
        .where(Confirmation.identity_id == identity, Confirmation.created_at > now - SHOWN_WITHIN)
        .order_by(Confirmation.created_at.desc())
        .limit(SHOWN_MAX)
    )
    for one in recent:
        if hmac.compare_digest(one.code_hash, _hash(one.id, said)):
            return Answered(Outcome.OVER, one.id)
    return None


async def _person(session: AsyncSession, identity: UUID) -> UUID:
    """Whose identity it is, locked, so that two messages at once count one after the other."""
    return await people.hold(session, await people.of_identity(session, identity))


def _as_params(id_: UUID, action: str) -> bytes:
    """What the parameters are sealed as: this confirmation's, of this action."""
    return b"confirmation\0" + id_.bytes + action.encode()


def _as_shown(id_: UUID) -> bytes:
    """What the words of a confirmation are sealed as."""
    return b"confirmation shown\0" + id_.bytes


def _hash(salt: UUID, code: str) -> bytes:
    return hashlib.sha256(salt.bytes + code.encode()).digest()
