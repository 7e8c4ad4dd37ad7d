"""Reminders as people set, see and cancel them. Everything here touches only the person's own rows."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Annotated, Literal
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, JsonValue, WithJsonSchema
from sqlalchemy import Select, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core import clock, recurrence
from core.actions import ActionContext, ActionResult, Connector, Effect, Params, action, ask
from core.errors import InvalidSlot, LimitReached, Unusable, UserError
from core.language import Plural, Saying, moment
from core.messages import FACTS_MAX, Card, Fact, Text
from core.models import Conversation, Reminder
from core.people import current, hold
from core.reminders import open_contents, seal_content

CONTENT_CHARS_MAX = 500
ACTIVE_MAX = 500
"""Active reminders of one person."""
DENSE_MAX = 5
"""How many of them may come round more than once a day."""
AHEAD_MAX = timedelta(days=3653)
BEHIND_MAX = timedelta(days=366)
"""How far back a repeating reminder may have begun."""
SHOWN_MAX = FACTS_MAX
CONTENT_SHOWN_CHARS = 80
"""How much of a reminder's words is shown in a list."""

_WALL = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NUMBER = re.compile(r"(?:the |number |no\.? ?|nr\.? ?|nambari |namba |[ylw]a |cha |#)*([0-9]{1,4})\.?", re.IGNORECASE)
_PLACED = re.compile(r"(?:the |kile |ile |[ylw]a |cha )*(first|second|last|kwanza|pili|mwisho)(?: one)?", re.IGNORECASE)
_PLACES = {"first": 1, "kwanza": 1, "second": 2, "pili": 2}
_ALL = re.compile(r"(?:all|both|everything|yote|vyote|zote)\b.{0,20}", re.IGNORECASE)
MINUTES_MAX = 366 * 24 * 60
SNOOZED_WITHIN = timedelta(hours=1)
"""Who puts off “it” means what went off so short a time ago, if anything did."""
FOUND_WITHIN = timedelta(days=1)
"""How long one that went off can be put off by its words."""
CHANNELS = {
    "web": Saying("the web chat", "gumzo la wavuti"), "whatsapp": Saying("WhatsApp", "WhatsApp"),
    "telegram": Saying("Telegram", "Telegram"), "email": Saying("e-mail", "barua pepe"),
}  # fmt: skip
WHAT = Saying("What should I remind you of?", "Nikukumbushe nini?")
WHEN = Saying("When should I remind you?", "Nikukumbushe lini?")
HOW_OFTEN = Saying("How often should it repeat?", "Kirudiwe mara ngapi?")
NO_TIME = Saying("You named a day but no time.", "Umetaja siku bila saa.")
WRONG_TIME = Saying("I did not understand that time.", "Sijaelewa wakati huo.")
TOO_FAR = Saying("That is more than 10 years away.", "Hiyo ni zaidi ya miaka 10 kutoka sasa.")
PAST = Saying("That is in the past: {when}.", "Wakati huo umepita: {when}.")
LONG_PAST = Saying(
    "That is more than a year ago. From when should I remind you?",
    "Hiyo ni zaidi ya mwaka uliopita. Nikukumbushe kuanzia lini?",
)
NOT_SO = Saying("I cannot repeat it like that: {why}.", "Siwezi kukirudia hivyo: {why}.")
WRONG_RULE = "kanuni hiyo ya kurudia siifahamu"
"""What is told in Swahili of a rule that no person writes; in English it is said exactly what is wrong with it."""
NEVER = Saying("That would never come round again.", "Hicho hakitarudi tena.")
FULL = Saying(
    "You have {count} reminders, which is as many as I keep. Cancel one first.",
    "Una vikumbusho {count}, kiwango cha juu ninachohifadhi. Futa kimoja kwanza.",
)
DENSE = Saying(
    "You have {count} reminders that come several times a day, as many as I keep. Cancel one first.",
    "Una vikumbusho {count} vinavyorudi mara kadhaa kwa siku, kiwango cha juu ninachohifadhi. Futa kimoja kwanza.",
)
NONE = Saying("You have no reminders.", "Huna vikumbusho.")
UNKNOWN = Saying(
    "You have no reminder called “{which}”. Ask me for your reminders to see them all.",
    "Huna kikumbusho kiitwacho “{which}”. Niulize vikumbusho vyako uvione vyote.",
)
WHICH = Saying("Which one? Tell me its number.", "Kipi? Niambie nambari yake.")
WHICH_ONE = Saying(
    "Which one? Tell me its number in your list, or some of its words.",
    "Kipi? Niambie nambari yake kwenye orodha yako, au baadhi ya maneno yake.",
)
MORE = Saying("… and {count} more.", "… na vingine {count}.")
YOUR = Plural(
    Saying("Your reminder ({city} time)", "Kikumbusho chako (saa za {city})"),
    Saying("Your {count} reminders ({city} time)", "Vikumbusho vyako {count} (saa za {city})"),
)
WAITS = Saying(", waits until {when}", ", kinasubiri hadi {when}")
ELSEWHERE = Saying(" (on {where})", " (kwenye {where})")
SET = Saying("Done. Reminder set for {when}.", "Sawa. Nimeweka kikumbusho: {when}.")
SET_OFTEN = Saying(
    "Done. Reminder set {often}; the next is {when}.", "Sawa. Nimeweka kikumbusho {often}; kinachofuata ni {when}."
)
CANCELLED = Saying("Done. Cancelled “{what}”.", "Sawa. Nimefuta “{what}”.")
CANCELLED_ALL = Saying("Done. Cancelled all {count}: {what}.", "Sawa. Nimefuta vyote {count}: {what}.")
MOVED = Saying("Done. “{what}” comes {when} now.", "Sawa. “{what}” sasa ni {when}.")
AGAIN = Saying("Done. I will say “{what}” again {when}.", "Sawa. Nitakukumbusha “{what}” tena {when}.")
NOT_MOVED = Saying("No reminder of yours was moved.", "Hakuna kikumbusho chako kilichosogezwa.")
UNTIL = Saying("To when shall I move it?", "Nikisogeze hadi lini?")
GONE_OFF = Saying(
    "“{what}” has just gone off, so there is nothing to cancel.",
    "“{what}” kimetoka kutumwa sasa hivi, kwa hiyo hakuna cha kufuta.",
)
_ONCE = ("none", "once", "never")


def _wall_time(value: object) -> datetime:
    """A local date and time as written, without an offset; Unusable says what is missing."""
    if isinstance(value, str) and _WALL.fullmatch(value):
        return datetime.fromisoformat(value)
    if isinstance(value, str) and _DAY.fullmatch(value):
        raise Unusable(NO_TIME)
    raise Unusable(WRONG_TIME)


WallTime = Annotated[
    datetime,
    BeforeValidator(_wall_time),
    WithJsonSchema({"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2})?$"}),
]


class SetReminder(Params):
    """What, when, how often."""

    content: str = Field(
        description="What to remind the person of, in their words", min_length=1, max_length=CONTENT_CHARS_MAX,
        json_schema_extra=ask(WHAT.en, WHAT.sw),
    )  # fmt: skip
    time: WallTime = Field(
        description="When, by the person's own clock and without an offset, e.g. 2026-11-24T09:00",
        json_schema_extra=ask(WHEN.en, WHEN.sw),
    )  # fmt: skip
    recurrence: str | None = Field(
        default=None, max_length=recurrence.RULE_CHARS_MAX,
        description="How often it repeats: daily, weekdays, weekly, monthly, yearly, or an RFC 5545 rule such as "
        "FREQ=WEEKLY;BYDAY=MO,TH; left out when it is for once",
        json_schema_extra=ask(HOW_OFTEN.en, HOW_OFTEN.sw),
    )  # fmt: skip
    priority: Literal["low", "normal", "high"] = Field(default="normal", description="How much it matters")


class ListReminders(Params):
    """Nothing to fill in."""


class SnoozeReminder(Params):
    """Which one, and to when."""

    time: WallTime | None = Field(
        default=None,
        description="The new time, by the person's own clock and without an offset, e.g. 2026-11-24T09:00",
        json_schema_extra=ask(UNTIL.en, UNTIL.sw),
    )  # fmt: skip
    minutes: int | None = Field(
        default=None, ge=1, le=MINUTES_MAX,
        description="Instead of a time: how many minutes later, from now for one that has gone off, else from its time",
        json_schema_extra=ask(UNTIL.en, UNTIL.sw),
    )  # fmt: skip
    back: bool = Field(default=False, description="Whether the last move is taken back, and nothing else is done")
    which: str | None = Field(
        default=None, min_length=1, max_length=200, coerce_numbers_to_str=True,
        description="The reminder's number in the list, words of its content, or last for the one set last; left out "
        "for the one that has just gone off, or the only one", json_schema_extra=ask(WHICH_ONE.en, WHICH_ONE.sw),
    )  # fmt: skip
    recurrence: str | None = Field(
        default=None, max_length=recurrence.RULE_CHARS_MAX,
        description="How often it repeats from then on, as in set_reminder; left out where that is not changed",
        json_schema_extra=ask(HOW_OFTEN.en, HOW_OFTEN.sw),
    )  # fmt: skip


class CancelReminder(Params):
    """Which one."""

    which: str | None = Field(
        description="The reminder's number in the list, words of its content, last for the one set last, or all; left "
        "out where there is only one",
        default=None, min_length=1, max_length=200, coerce_numbers_to_str=True,
        json_schema_extra=ask(WHICH_ONE.en, WHICH_ONE.sw),
    )  # fmt: skip


@action(
    effect=Effect.WRITE,
    examples=("remind me tomorrow at 9 to call Amina", "remind me every weekday at 7:30 to take my medicine",
              "nikumbushe kesho saa tatu asubuhi kulipa kodi"),
)  # fmt: skip
async def set_reminder(ctx: ActionContext, params: SetReminder) -> ActionResult:
    """Remind the person of something at a local time, once or repeatedly."""
    async with ctx.db.transaction() as session:
        # The person's row is held so that two calls at once cannot both take the last place.
        await hold(session, ctx.person.id)
        earlier = await session.scalar(_own(ctx).where(Reminder.key == ctx.idempotency_key))
        if earlier is not None:
            await open_contents(session, [earlier])
            return _confirmed(earlier, ctx, await clock.ask_once(session, ctx, earlier.created_at))
        rrule, wall, due = plan(params.time, params.recurrence, ctx.zone.key, ctx.now)
        await _check_limits(session, ctx, rrule)
        reminder_id = uuid4()
        sealed = await seal_content(session, reminder_id, ctx.conversation_id, params.content)
        reminder = Reminder(
            id=reminder_id, person_id=ctx.person.id, conversation_id=ctx.conversation_id, sealed=sealed,
            wall_time=wall, zone=ctx.zone.key, rrule=rrule, due_at=due, state="active", priority=params.priority,
            created_at=ctx.now, key=ctx.idempotency_key,
        )  # fmt: skip
        reminder.content = params.content
        session.add(reminder)
        question = await clock.ask_once(session, ctx, ctx.now)
    return _confirmed(reminder, ctx, question)


@action(
    effect=Effect.READ, own=True,
    examples=("what are my reminders?", "list my reminders", "nionyeshe vikumbusho vyangu"),
)  # fmt: skip
async def list_reminders(ctx: ActionContext, params: ListReminders) -> ActionResult:
    """Show the person's reminders, the soonest first."""
    async with ctx.db.transaction() as session:
        reminders = await open_contents(session, (await session.scalars(_shown(ctx).limit(SHOWN_MAX))).all())
        count = await session.scalar(select(func.count()).select_from(_shown(ctx).subquery())) or 0
        elsewhere = await _elsewhere(session, reminders, ctx)
    if not reminders:
        return ActionResult(ctx.say(NONE), {"count": 0, "reminders": []})
    head = ctx.say(YOUR.of(count, city=_city(ctx.zone.key)))
    card = Card(title=head, facts=tuple(_fact(n, reminder, ctx, elsewhere) for n, reminder in enumerate(reminders, 1)))
    more = (Text(text=ctx.say(MORE, count=count - len(reminders))),) if count > len(reminders) else ()
    data: dict[str, JsonValue] = {"count": count, "reminders": [_data(reminder) for reminder in reminders]}
    return ActionResult.of(card, *more, data=data)


@action(
    effect=Effect.WRITE, examples=("cancel reminder 2", "cancel the reminder about Amina", "futa kikumbusho cha kodi")
)  # fmt: skip
async def cancel_reminder(ctx: ActionContext, params: CancelReminder) -> ActionResult:
    """Cancel one of the person's reminders, named by its number in the list or by its words, or all of them."""
    async with ctx.db.transaction() as session:
        key = ctx.idempotency_key
        earlier = _own(ctx).where(or_(Reminder.cancel_key == key, Reminder.cancel_key.startswith(f"{key}#")))
        chosen = (await session.scalars(earlier.order_by(Reminder.due_at, Reminder.id))).all()
        if chosen:
            return _cancelled(await open_contents(session, chosen), ctx)
        reminders = await open_contents(session, (await session.scalars(_shown(ctx).limit(ACTIVE_MAX))).all())
        if reminders and params.which is not None and _ALL.fullmatch(params.which):
            chosen = reminders
        else:
            chosen = [_chosen(reminders, params.which, ctx)]
        cancelled = [one for n, one in enumerate(chosen) if await _cancel(session, one, f"{key}#{n}" if n else key)]
        if not cancelled:
            raise UserError(GONE_OFF.filled(what=_short(chosen[0].content)))
    return _cancelled(cancelled, ctx)


async def _cancel(session: AsyncSession, reminder: Reminder, key: str) -> bool:
    """Whether it was still to come."""
    done = await session.scalar(
        update(Reminder)
        .where(Reminder.id == reminder.id, Reminder.state == "active")
        .values(state="cancelled", cancel_key=key)
        .returning(Reminder.id)
    )
    return done is not None


@action(
    effect=Effect.WRITE,
    examples=("snooze it for 10 minutes", "push the reminder about rent to 5pm",
              "ahirisha kikumbusho hadi kesho saa tatu asubuhi"),
)  # fmt: skip
async def snooze_reminder(ctx: ActionContext, params: SnoozeReminder) -> ActionResult:
    """Put a reminder off, or move it to another time; one that went off already comes once more."""
    async with ctx.db.transaction() as session:
        await hold(session, ctx.person.id)
        earlier = await session.scalar(_own(ctx).where(Reminder.key == ctx.idempotency_key))
        was = await session.scalar(_own(ctx).where(Reminder.cancel_key == ctx.idempotency_key))
        if earlier is not None:
            [new] = await open_contents(session, [earlier])
            return _moved(new, ctx, again=was is None)
        if params.back:
            return await _moved_back(session, ctx, was)
        old = await _put_off(session, ctx, params.which)
        rrule, wall, due = plan(_later(old, params, ctx), params.recurrence, ctx.zone.key, ctx.now)
        # One that comes round goes on as it did, unless how often it comes was changed.
        ends = old.state == "active" and (old.rrule is None or params.recurrence is not None)
        ended = ends and await _cancel(session, old, ctx.idempotency_key)
        await _check_limits(session, ctx, rrule)
        new = Reminder(
            id=uuid4(), person_id=ctx.person.id, conversation_id=old.conversation_id, wall_time=wall,
            zone=ctx.zone.key, rrule=rrule, due_at=due, state="active", priority=old.priority, created_at=ctx.now,
            key=ctx.idempotency_key,
        )  # fmt: skip
        new.content = old.content
        new.sealed = await seal_content(session, new.id, new.conversation_id, new.content)
        session.add(new)
    return _moved(new, ctx, again=not ended)


def _later(old: Reminder, params: SnoozeReminder, ctx: ActionContext) -> datetime:
    """The new wall time: the one that was said, or so much later than its own, or than now where that is over."""
    if params.time is not None:
        return params.time
    if params.minutes is None:
        raise InvalidSlot("time", UNTIL)
    gone_off = old.last_sent_for is not None and old.last_sent_for > ctx.now - FOUND_WITHIN
    since = ctx.now if gone_off else max(old.due_at, ctx.now)
    return (since + timedelta(minutes=params.minutes)).astimezone(ctx.zone).replace(tzinfo=None, microsecond=0)


async def _moved_back(session: AsyncSession, ctx: ActionContext, moved: Reminder | None) -> ActionResult:
    """The reminder that was moved last is where it was before, and one that was to come again does not.

    `moved` is the one that this call has ended already.
    """
    if moved is None:
        newest = _shown(ctx).order_by(None).order_by(Reminder.created_at.desc(), Reminder.id)
        moved = await session.scalar(newest.limit(1))
    if moved is None:
        raise UserError(NOT_MOVED)
    before = await session.scalar(_own(ctx).where(Reminder.cancel_key == moved.key))
    [moved] = await open_contents(session, [moved])
    if before is None:
        recent = await open_contents(session, (await session.scalars(_gone_off(ctx))).all())
        if moved.content not in {one.content for one in recent if one.id != moved.id}:
            raise UserError(NOT_MOVED)
        await _cancel(session, moved, ctx.idempotency_key)
        return _cancelled([moved], ctx)
    [before] = await open_contents(session, [before])
    if before.state == "cancelled":
        if before.due_at <= ctx.now:
            raise UserError(PAST.filled(when=_when(before.wall_time, ctx.now.year, before.zone)))
        await _cancel(session, moved, ctx.idempotency_key)
        before.state = "active"
    return _moved(before, ctx, again=False)


def _gone_off(ctx: ActionContext) -> Select[Reminder]:
    """What went off here a short time ago, the last first."""
    recent = _own(ctx).where(Reminder.conversation_id == ctx.conversation_id)
    recent = recent.where(Reminder.last_sent_for > ctx.now - FOUND_WITHIN, Reminder.state.in_(("active", "done")))
    return recent.order_by(Reminder.last_sent_for.desc()).limit(SHOWN_MAX)


async def _put_off(session: AsyncSession, ctx: ActionContext, which: str | None) -> Reminder:
    """The reminder that is meant, which may have gone off just now."""
    active = await open_contents(session, (await session.scalars(_shown(ctx).limit(ACTIVE_MAX))).all())
    recent = await open_contents(session, (await session.scalars(_gone_off(ctx))).all())
    if which is None and recent and (recent[0].last_sent_for or ctx.now) > ctx.now - SNOOZED_WITHIN:
        return recent[0]
    try:
        return _chosen(active, which, ctx)
    except InvalidSlot:
        raise
    except UserError:
        said = _words(which or "")
        found = next((one for one in recent if said and said <= _words(one.content)), None)
        if found is None:
            raise
        return found


def plan(wall: datetime, repeats: str | None, zone: str, now: datetime) -> tuple[str | None, datetime, datetime]:
    """The rule in full, the first wall time after `now` and its instant; InvalidSlot for what cannot be planned."""
    local = now.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    if wall > local + AHEAD_MAX:
        raise InvalidSlot("time", Saying.joined(" ", TOO_FAR, WHEN))
    if repeats is None or repeats.casefold() in _ONCE:
        due = None if wall < local - BEHIND_MAX else recurrence.resolve(wall, zone)
        if due is None or due <= now:
            raise InvalidSlot("time", Saying.joined(" ", PAST.filled(when=_when(wall, local.year, zone)), WHEN))
        return None, wall, due
    if wall < local - BEHIND_MAX:
        raise InvalidSlot("time", LONG_PAST)
    try:
        # A rule with a COUNT counts from the first time that is still to come.
        rule, first = recurrence.settle(repeats, wall, zone, now) or (None, None)
    except ValueError as error:
        why = error.says if isinstance(error, Unusable) else Saying(str(error), WRONG_RULE)
        raise InvalidSlot("recurrence", Saying.joined(" ", NOT_SO.filled(why=why), HOW_OFTEN)) from None
    if rule is None or first is None:
        raise InvalidSlot("recurrence", Saying.joined(" ", NEVER, HOW_OFTEN))
    return rule, first, recurrence.resolve(first, zone)


async def _check_limits(session: AsyncSession, ctx: ActionContext, rrule: str | None) -> None:
    active = await session.scalar(select(func.count()).select_from(_active(ctx).subquery())) or 0
    if active >= ACTIVE_MAX:
        raise LimitReached(FULL.filled(count=ACTIVE_MAX))
    if rrule is None or not recurrence.parse(rrule, ctx.zone.key).within_day:
        return
    dense = _active(ctx).where(Reminder.rrule.op("~")("^FREQ=(HOURLY|MINUTELY)"))
    if (await session.scalar(select(func.count()).select_from(dense.subquery())) or 0) >= DENSE_MAX:
        raise LimitReached(DENSE.filled(count=DENSE_MAX))


def _own(ctx: ActionContext) -> Select[Reminder]:
    return select(Reminder).where(Reminder.person_id == current(ctx.person.id))


def _active(ctx: ActionContext) -> Select[Reminder]:
    """The person's active reminders, in the order of the list."""
    return _own(ctx).where(Reminder.state == "active").order_by(Reminder.due_at, Reminder.created_at, Reminder.id)


def _shown(ctx: ActionContext) -> Select[Reminder]:
    """The active reminders that may be named here: all of them in private, in a group those that were set in it."""
    if ctx.sender is None or ctx.sender.is_private:
        return _active(ctx)
    return _active(ctx).where(Reminder.conversation_id == ctx.conversation_id)


async def _elsewhere(session: AsyncSession, reminders: Sequence[Reminder], ctx: ActionContext) -> Mapping[UUID, Saying]:
    """Where reminders speak that were set in other chats, by their conversations."""
    others = {reminder.conversation_id for reminder in reminders} - {ctx.conversation_id}
    if not others:
        return {}
    rows = await session.execute(select(Conversation.id, Conversation.channel).where(Conversation.id.in_(others)))
    return {row.id: CHANNELS[row.channel] for row in rows}


def _chosen(reminders: Sequence[Reminder], which: str | None, ctx: ActionContext) -> Reminder:
    """The one reminder that was meant; a question when several could be, a sentence when none is."""
    if not reminders:
        raise UserError(NONE)
    if which is None:
        if len(reminders) > 1:
            raise _which_one(list(enumerate(reminders, 1)), ctx)
        return reminders[0]
    number, placed = _NUMBER.fullmatch(which.strip()), _PLACED.fullmatch(which.strip())
    if number and 1 <= int(number[1]) <= len(reminders):
        return reminders[int(number[1]) - 1]
    if placed and (place := _PLACES.get(placed[1].casefold(), 1)) <= len(reminders):
        if placed[1].casefold() in _PLACES:
            return reminders[place - 1]
        return max(reminders, key=lambda one: one.created_at)
    words = _words(which)
    found = [
        (place, reminder) for place, reminder in enumerate(reminders, 1) if words and words <= _words(reminder.content)
    ]
    if not found:
        raise UserError(UNKNOWN.filled(which=_short(which)))
    if len(found) > 1:
        raise _which_one(found, ctx)
    return found[0][1]


def _which_one(found: Sequence[tuple[int, Reminder]], ctx: ActionContext) -> InvalidSlot:
    """The question which of several is meant, with their places in the list."""
    shown = (_fact(place, reminder, ctx) for place, reminder in found[:SHOWN_MAX])
    lines = [f"{fact.label}: {fact.value}" for fact in shown]
    if len(found) > SHOWN_MAX:
        lines.append(ctx.say(MORE, count=len(found) - SHOWN_MAX))
    return InvalidSlot("which", "\n".join((ctx.say(WHICH), *lines)))


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


def _confirmed(reminder: Reminder, ctx: ActionContext, question: clock.Question | None) -> ActionResult:
    """The sentence of a reminder that is set, the same however often it is asked for; a question beside it."""
    parts, offers = (question.parts, question.offers) if question else ((), None)
    year = reminder.created_at.astimezone(ZoneInfo(reminder.zone)).year
    due = recurrence.next_after(reminder.wall_time, reminder.zone, reminder.rrule, reminder.created_at)
    local = (due[1] if due else reminder.due_at).astimezone(ZoneInfo(reminder.zone))
    when = _when(local, year, reminder.zone)
    if reminder.rrule is None:
        return ActionResult(ctx.say(SET, when=when), _data(reminder), parts, offers=offers)
    often = recurrence.describe(reminder.rrule, reminder.wall_time, reminder.zone)
    return ActionResult(ctx.say(SET_OFTEN, often=often, when=when), _data(reminder), parts, offers=offers)


def _cancelled(reminders: Sequence[Reminder], ctx: ActionContext) -> ActionResult:
    if len(reminders) == 1:
        text = ctx.say(CANCELLED, what=_short(reminders[0].content))
        return ActionResult(text, {"id": str(reminders[0].id), "state": "cancelled"})
    named = ", ".join(f"“{_short(one.content)}”" for one in reminders[:SHOWN_MAX])
    more = f" {ctx.say(MORE, count=len(reminders) - SHOWN_MAX)}" if len(reminders) > SHOWN_MAX else ""
    text = ctx.say(CANCELLED_ALL, count=len(reminders), what=named + more)
    return ActionResult(text, {"ids": [str(one.id) for one in reminders], "state": "cancelled"})


def _moved(reminder: Reminder, ctx: ActionContext, *, again: bool) -> ActionResult:
    """The sentence of a reminder at its new time: moved there, or coming once more."""
    year = reminder.created_at.astimezone(ZoneInfo(reminder.zone)).year
    when = _when(reminder.due_at.astimezone(ZoneInfo(reminder.zone)), year, reminder.zone)
    return ActionResult(ctx.say(AGAIN if again else MOVED, what=_short(reminder.content), when=when), _data(reminder))


def _fact(
    number: int, reminder: Reminder, ctx: ActionContext, elsewhere: Mapping[UUID, Saying] = MappingProxyType({})
) -> Fact:
    """A reminder in a list: its number and when it comes next; what it says, how often, and where."""
    this_year = ctx.now.astimezone(ctx.zone).year
    there = "" if reminder.zone == ctx.zone.key else reminder.zone
    when = ctx.say(_when(reminder.due_at.astimezone(ZoneInfo(reminder.zone)), this_year, there))
    what = _short(reminder.content)
    if reminder.rrule is not None:
        what += f", {ctx.say(recurrence.describe(reminder.rrule, reminder.wall_time, reminder.zone))}"
    if reminder.deferred_until is not None:
        again = reminder.deferred_until.astimezone(ZoneInfo(reminder.zone))
        what += ctx.say(WAITS, when=moment(again, this_year))
    chat = elsewhere.get(reminder.conversation_id)
    where = ctx.say(ELSEWHERE, where=chat) if chat else ""
    return Fact(label=f"{number}. {when}", value=f"{what}{where}")


def _data(reminder: Reminder) -> dict[str, JsonValue]:
    return {
        "id": str(reminder.id), "content": reminder.content, "priority": reminder.priority,
        "time": reminder.wall_time.isoformat(), "zone": reminder.zone, "due_at": reminder.due_at.isoformat(),
        "recurrence": reminder.rrule,
    }  # fmt: skip


def _when(local: datetime, this_year: int, zone: str) -> Saying:
    """A local time as people read it, with the year when it is another one, and the place of a zone that is named."""
    when = moment(local, this_year)
    return Saying.joined(" ", when, f"({_city(zone)})") if zone else when


def _city(zone: str) -> str:
    """The place a zone is named after."""
    return zone.rpartition("/")[2].replace("_", " ")


def _short(words: str) -> str:
    line = " ".join(words.split())
    return line if len(line) <= CONTENT_SHOWN_CHARS else f"{line[: CONTENT_SHOWN_CHARS - 1]}…"


connector = Connector(
    name="reminders", title=Saying("Reminders", "Vikumbusho"),
    actions=(set_reminder, list_reminders, cancel_reminder, snooze_reminder),
)  # fmt: skip
