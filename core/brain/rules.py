"""The brain that needs no model: the rules of `understand` for what to do, a few replies for the rest."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from core import countries
from core.actions import Action, Effect
from core.brain import Asked, again, moves, picks, plans, replies, understand, when
from core.brain.commands import in_words
from core.brain.understand import ACT_READ, corrects, parse
from core.dialog import DialogState, Intent, Plan
from core.language import spoken
from core.messages import Reply
from core.settings import Settings

if TYPE_CHECKING:
    from core.catalog import Catalog

DEFAULT_TIMEZONE: str = Settings.model_fields["default_timezone"].default

ACT_WRITE = 0.95
"""A guess this likely is acted on where it changes something of the person's."""

__all__ = ["RuleBrain", "parse"]


def sure_enough(intent: Intent, effect: Effect) -> bool:
    """Whether an intent is acted on; a guess must be likely, the more so where it changes something."""
    return not intent.guessed or intent.confidence >= (ACT_READ if effect is Effect.READ else ACT_WRITE)


class RuleBrain:
    """Understands by rules; knows nothing of the person but where their clock is and which language they are
    spoken with."""

    def __init__(self, catalog: "Catalog", default_timezone: str = DEFAULT_TIMEZONE) -> None:
        """`default_timezone` is the IANA zone of people who have stated none; the settings' one."""
        self._catalog = catalog
        self._default_timezone = default_timezone
        self._offer = Offer.of(catalog, ())

    async def think(self, turn: Asked, offered: Sequence[Action[Any]]) -> Intent | Reply | Plan:
        """An intent among the `offered` actions, a plan of several, or a reply when the message asks for none."""
        text = turn.text
        language = spoken(turn.person.language)
        if not text.strip():
            return replies.without_words(language, turn.messages, offered)
        if offered is not self._offer.actions:
            self._offer = Offer.of(self._catalog, offered)
        shown = self._offer.shown_to(turn)
        if turn.state.meant is not None and (yes := picks.agrees(text)) is not None:
            return turn.state.meant if yes else replies.not_that(language, shown)
        if not turn.state.asked:
            told = replies.clock(text, language, when.local(turn.now, self._zone(turn)))
            if told is not None:
                return told
            text = picks.picked(text, turn.state.shown) or text
        machine = not turn.state.asked and replies.is_code(text)
        words = None if machine else in_words(text, self._offer.names)
        if words is None:
            return replies.not_understood(language, shown, replies.open_question(language, offered, turn.state))
        found = [words]
        if words == text:
            alone = DialogState(history=turn.state.history)
            reader = plans.Reader(
                partial(self._read, turn, turn.state),
                partial(self._read, turn, alone),
                lambda before, piece: self._read(turn, alone.merge(before).finish(), piece),
                partial(when.timed, now=when.local(turn.now, self._zone(turn)), month_first=self._month_first(turn)),
            )
            found = plans.pieces(words, reader)
        steps: list[Intent | Reply] = []
        state = turn.state
        for piece in found:
            intent = self._read(turn, state, piece)
            intent = plans.seconded(plans.passed_on(intent, piece), steps[-1]) if steps else intent
            intent, *more = plans.each(intent, piece)
            told = self._told(intent, turn, offered)
            if steps and _takes_back(intent, steps[-1], piece):
                steps[-1] = intent
            elif told is None:
                steps += [intent, *more]
                state = state.merge(intent).finish()
            elif len(found) > 1 and told.why == "not_here":
                steps.append(replies.only_not_here(language, intent.action))
            else:
                steps.append(replace(told, confidence=intent.confidence, guessed=intent.guessed, by=intent.by))
        return steps[0] if len(steps) == 1 else Plan(tuple(plans.shared(steps)))

    def _zone(self, turn: Asked) -> str:
        return turn.person.timezone or self._default_timezone

    def _month_first(self, turn: Asked) -> bool:
        return countries.month_first(self._zone(turn), turn.messages[-1].sender.phone if turn.messages else None)

    def _read(self, turn: Asked, state: DialogState, text: str) -> Intent:
        zone = self._zone(turn)
        names, month_first = self._offer.names, self._month_first(turn)
        state = understand.unasked(state, text)

        def read(words: str, within: DialogState) -> Intent:
            return parse(words, now=turn.now, zone=zone, state=within, actions=names, month_first=month_first)

        moved = moves.SNOOZE in names
        intent = moves.read(text, state, read, turn.now, zone, month_first=month_first) if moved else read(text, state)
        better = again.read(text, state, again.whose(text, again.told_all(text, intent)))
        return better if better.action in names else intent

    def _told(self, intent: Intent, turn: Asked, offered: Sequence[Action[Any]]) -> replies.Told | None:
        """What to answer to an intent that runs nothing; None for one that is to be acted on."""
        language, shown = spoken(turn.person.language), self._offer.shown_to(turn)
        match intent.action:
            case "help":
                question = replies.open_question(language, offered, turn.state)
                return replies.help_text(language, self._catalog.help_text(language, shown), shown, question)
            case "smalltalk":
                question = replies.open_question(language, offered, turn.state)
                return replies.small_talk(turn.text, language, shown, question, _told_name(turn))
            case understand.LEAVE:
                return replies.dropped(language) if turn.state.action else replies.nothing_open(language, shown)
            case "none":
                last = next(reversed(list(turn.state.history)), None)
                if turn.state.action in (None, "set_timezone") and last == "set_reminder" and corrects(turn.text):
                    return replies.set_already(language)
                if replies.is_cross(turn.text):
                    return replies.no_help(language, replies.open_question(language, offered, turn.state))
                if replies.only_pictures(turn.text):
                    return replies.nod(language, replies.open_question(language, offered, turn.state))
                return replies.not_understood(language, shown, replies.open_question(language, offered, turn.state))
        action = next((one for one in offered if one.name == intent.action), None)
        if action is None:
            return replies.not_here(language, intent.action, shown)
        if not sure_enough(intent, action.effect):
            return replies.did_you_mean(language, action, intent)
        return None


def _takes_back(intent: Intent, before: Intent | Reply, piece: str) -> bool:
    """Whether a piece of a message corrects the one before it: "the weather in Nairobi, no, Mombasa"."""
    same = isinstance(before, Intent) and before.action == intent.action
    return same and intent.by == "change" and corrects(piece)


def _says(action: Action[Any]) -> tuple[bool, int, int]:
    """How well an action stands for its connector: moving money, then by what it needs, then by what it can be told."""
    return action.effect is Effect.SPEND, len(action.required), len(action.slots)


def _told_name(turn: Asked) -> str | None:
    """What the person wants to be called; None where only their channel says it, and where others read along."""
    name, last = turn.person.name, turn.messages[-1]
    return name if last.sender.is_private and name != last.display_name else None


@dataclass(frozen=True, slots=True)
class Offer:
    """What follows from the actions on offer, which are the same ones in turn after turn.

    `shown` holds one action of each connector to show what can be done: the one with the most to say to it,
    among those that want no code which the person may not have.
    """

    actions: Sequence[Action[Any]]
    names: frozenset[str]
    shown: tuple[Action[Any], ...]
    together: tuple[Action[Any], ...] = ()
    """Those of `shown` that are done where others read along, too."""

    def shown_to(self, turn: Asked) -> tuple[Action[Any], ...]:
        """What can be done where this was said."""
        return self.shown if all(one.sender.is_private for one in turn.messages) else self.together

    @classmethod
    def of(cls, catalog: "Catalog", actions: Sequence[Action[Any]]) -> "Offer":
        """Worked out once for these actions."""
        best: dict[str, Action[Any]] = {}
        for action in actions:
            name = catalog.connector_of(action.name).name
            if action.examples and not action.secrets and (name not in best or _says(action) > _says(best[name])):
                best[name] = action
        # What can be asked with words of one's own comes before what is only looked up about oneself.
        listed = [best[connector.name] for connector in catalog.on if connector.name in best]
        shown = sorted(listed, key=lambda action: not action.slots)
        together = tuple(action for action in shown if not catalog.connector_of(action.name).private)
        return cls(actions, frozenset(action.name for action in actions), tuple(shown), together)
