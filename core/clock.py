"""The clock a person lives by: asked for once, when something first needs it, and never in the way of what they want.

Until they have said it, we go by what their number's country or their browser makes likely (`Person.zone_guess`), or by
the deployment's zone. What was set meanwhile keeps the hour they named, wherever their clock turns out to be.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import JsonValue
from sqlalchemy.ext.asyncio import AsyncSession

from core import zones
from core.actions import ActionContext
from core.db import driver
from core.language import Saying
from core.messages import Choices, Part, Text

QUESTION = Saying(
    "I take it your clock is {city} time ({name}, now {time}). Right?",
    "Nadhani saa zako ni za {city} ({name}, sasa {time}). Ni sawa?",
)
YES = Saying("Yes", "Ndio")
OTHER = Saying("Another town", "Mji mwingine")

ASK = """
UPDATE person p SET zone_asked_at = $2
WHERE p.id = (SELECT coalesce(o.merged_into, o.id) FROM person o WHERE o.id = $1)
  AND p.timezone IS NULL AND (p.zone_asked_at IS NULL OR p.zone_asked_at = $2)
RETURNING p.zone_guess
"""
MOVE = """
UPDATE reminder r SET zone = $3,
       due_at = CASE WHEN r.wall_time AT TIME ZONE $3 > $4 THEN r.wall_time AT TIME ZONE $3 ELSE r.due_at END
WHERE r.person_id = $1 AND r.state = 'active' AND r.zone = $2
  AND (r.rrule IS NOT NULL OR r.wall_time AT TIME ZONE $3 > $4)
RETURNING r.id
"""
"""One that would have been due by now stays as it was said; one that repeats comes once more at the old hour."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is shown beside an answer, and what a yes to it does."""

    parts: tuple[Part, ...]
    offers: tuple[str, Mapping[str, JsonValue]]


async def ask_once(session: AsyncSession, ctx: ActionContext, at: datetime) -> Question | None:
    """The question where the person's clock is, if they never said and never were asked; None in company.

    `at` is when what needs the clock was first done: asked again with it, the same question.
    """
    if ctx.sender is None or not ctx.sender.is_private:
        return None
    connection = await driver(session)
    asked = await connection.fetchrow(ASK, ctx.person.id, at)
    if asked is None:
        return None
    zone = asked["zone_guess"] or zones.of_phone(ctx.sender.phone) or ctx.settings.default_timezone
    local = at.astimezone(ZoneInfo(zone))
    text = ctx.say(QUESTION, city=zones.city(zone), name=zones.short(local), time=f"{local:%H:%M}")
    options = ctx.say(YES), ctx.say(OTHER)
    return Question((Text(text=text), Choices(options=options)), ("set_timezone", {"zone": zone}))


async def move(session: AsyncSession, owner: UUID, before: str, after: str, now: datetime) -> int:
    """Let what was set while their clock was a guess go by the clock that it is: the same hour, there; how many."""
    connection = await driver(session)
    return len(await connection.fetch(MOVE, owner, before, after, now))
