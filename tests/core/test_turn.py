"""Turns: claimed under a lease and a fence, answered, closed once, in the order of their conversation."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from pydantic import Field
from redis.asyncio import Redis
from sqlalchemy import select

from bot.runners import TurnRunner
from bot.wiring import connect_valkey
from core.actions import Action, ActionContext, ActionResult, Connector, Effect, Params, Shown, action, ask
from core.brain import Asked
from core.brain.replies import Told
from core.cache import ResultCache
from core.catalog import Catalog
from core.db import Database
from core.dialog import QUESTIONS_MAX, DialogState, Intent, Plan
from core.dialog_store import STATE_TTL_S, DialogStore
from core.errors import InvalidSlot, LimitReached, ProviderUnavailable
from core.inbox import Inbox
from core.language import Saying
from core.limits import CALLS, MESSAGES, Limits
from core.messages import PARTS, Card, InboundMessage, Part, Reply, Text, text_of
from core.models import Receipt
from core.providers import Providers
from core.receipts import opened
from core.settings import Settings
from core.turn import Closing, TurnDeps
from core.turn_answer import run_turn
from core.turn_store import Turns
from core.wake import Wakes
from tests.factories import say
from tests.said import called, messages, texts
from tests.waiting import until


class Note(Params):
    content: str = Field(description="What to note", json_schema_extra=ask("What should I note?", "Niandike nini?"))
    colour: str = Field(default="green", description="Its colour")


@action(effect=Effect.WRITE, examples=("note that the van is full",))
async def take_note(ctx: ActionContext, params: Note) -> ActionResult:
    """Write something down."""
    if params.content == "too much":
        raise LimitReached("You have enough notes. Delete one first.")
    if params.colour == "loud":
        raise InvalidSlot("colour", "That is no colour. Which one?")
    if params.content == "away":
        raise ProviderUnavailable("the paper is out")
    async with ctx.db.transaction() as session:
        from sqlalchemy import text

        await session.execute(
            text("INSERT INTO audit (actor, verb, subject) VALUES ('test', 'noted', :key)"),
            {"key": ctx.idempotency_key},
        )
    if params.content == "a card":
        return ActionResult.of(Card(title="Noted"), data={})
    return ActionResult(f"Done. Noted: {params.content}.", {"content": params.content})


async def would_burn(ctx: ActionContext, params: Note) -> Shown:
    return Shown(f"This burns {params.content}.", params, by_button=params.content == "a leaf")


@action(effect=Effect.WRITE, examples=("burn the van",), shows=would_burn)
async def burn_note(ctx: ActionContext, params: Note) -> ActionResult:
    """Burn something."""
    return ActionResult(f"Burnt: {params.content}.")


NOTES = Connector(name="notes", title=Saying("The notebook", "Daftari"), actions=(take_note, burn_note))


@dataclass
class ScriptedBrain:
    """Thinks what the script says for a text."""

    script: dict[str, Intent | Reply | Plan] = field(default_factory=dict)
    seen: list[Asked] = field(default_factory=list)

    async def think(self, turn: Asked, offered: Sequence[Action[Any]]) -> Intent | Reply | Plan:
        self.seen.append(turn)
        return self.script.get(turn.text, Reply.of(f"You said {turn.text}."))


@dataclass
class Kit:
    db: Database
    inbox: Inbox
    turns: Turns
    brain: ScriptedBrain
    deps: TurnDeps
    valkey: Redis

    async def answer_all(self) -> list[bool]:
        """Claim, answer and close what is waiting."""
        claimed = await self.turns.claim(10)
        closings = await asyncio.gather(*(run_turn(turn, self.deps) for turn in claimed))
        return list(await asyncio.gather(*(self.turns.close(closing) for closing in closings)))

    async def said(self) -> list[str]:
        return await texts(self.db, "WHERE direction = 'out' ORDER BY id")

    async def hear(self, text: str, room: str = "r1") -> None:
        await self.inbox.receive([say(text, room=room)])
        await self.answer_all()


@pytest.fixture
async def kit(db: Database, valkey_url: str) -> AsyncIterator[Kit]:
    settings = Settings(_env_file=None)
    wakes, valkey, brain, providers = Wakes(db), Redis.from_url(valkey_url), ScriptedBrain(), Providers(settings)
    limits = Limits(valkey)
    deps = TurnDeps(brain, Catalog((NOTES,), settings), providers, ResultCache(valkey, db.keys), db, settings, limits)
    turns = Turns(db, wakes, DialogStore(valkey, db.keys), limits, lease_s=30, zone="Africa/Nairobi")
    yield Kit(db, Inbox(db, wakes), turns, brain, deps, valkey)
    await providers.close()
    await valkey.aclose()


async def test_in_a_group_each_message_is_its_writers_and_touches_no_other_dialog(kit: Kit) -> None:
    def by(person: str, text: str) -> InboundMessage:
        one = say(text, name=person)
        return replace(one, sender=replace(one.sender, room="group", person=person))

    kit.brain.script |= {
        "note": Intent("take_note", {}, 1.0),
        "press": Intent("take_note", {"content": "milk"}, 1.0),
    }
    await kit.inbox.receive([by("Asha", "note")])
    await kit.answer_all()
    assert await kit.said() == ["What should I note?"]
    # Brian presses his button while Asha's question is open; both of them are in one turn, and Asha is the last.
    await kit.inbox.receive([by("Brian", "press"), by("Asha", "hm")])
    [turn] = await kit.turns.claim(10)
    closing = await run_turn(turn, kit.deps)
    assert await kit.turns.close(closing)
    assert [one.person.name for one in kit.brain.seen] == ["Asha", "Brian", "Asha"]
    assert [one.state.action for one in kit.brain.seen] == [None, None, "take_note"]
    owner = await called(kit.db, "SELECT p.name FROM receipt r JOIN person p ON p.id = r.person_id")
    assert owner == "Brian"
    await kit.inbox.receive([by("Brian", "and"), by("Asha", "me")])
    [turn] = await kit.turns.claim(10)
    assert (turn.person.name, turn.state.action) == ("Asha", "take_note")
    assert [state.action for state in turn.others.values()] == [None]


async def test_everything_waiting_is_answered_once_and_together(kit: Kit) -> None:
    await kit.inbox.receive([say("one", room="r1"), say("two", room="r1"), say("three", room="r1")])
    assert await kit.answer_all() == [True]
    assert await kit.said() == ["You said one.\n\nYou said two.\n\nYou said three."]
    assert await kit.turns.claim(10) == []
    assert await kit.db.pool.fetchval("SELECT count(*) FROM outbox WHERE state = 'pending'") == 1


async def test_what_comes_while_a_turn_is_open_is_the_next_turn(kit: Kit) -> None:
    await kit.inbox.receive([say("one")])
    [open_turn] = await kit.turns.claim(10)
    await kit.inbox.receive([say("two"), say("three")])
    assert await kit.turns.claim(10) == [], "a conversation has one open turn at a time"
    await kit.turns.close(await run_turn(open_turn, kit.deps))
    await kit.answer_all()
    assert await kit.said() == ["You said one.", "You said two.\n\nYou said three."]


async def test_a_fenced_off_answer_is_thrown_away(kit: Kit) -> None:
    await kit.inbox.receive([say("one")])
    [slow] = await kit.turns.claim(10)
    await kit.db.pool.execute("UPDATE turn SET lease_until = clock_timestamp() - interval '1 s'")
    [quick] = await kit.turns.claim(10)
    assert (quick.id, quick.attempt) == (slow.id, slow.attempt + 1)
    assert await kit.turns.close(Closing(quick, Reply.of("quick"), quick.state))
    assert not await kit.turns.close(Closing(slow, Reply.of("slow"), DialogState(action="take_note")))
    assert await kit.said() == ["quick"]
    assert await kit.valkey.keys("dialog:*") == []


async def test_racing_runners_answer_every_turn_once(kit: Kit) -> None:
    await kit.inbox.receive([say(f"m{n}", room=f"r{n}") for n in range(60)])
    claims = await asyncio.gather(*(kit.turns.claim(10) for _ in range(8)))
    ids = [turn.id for claimed in claims for turn in claimed]
    assert len(ids) == len(set(ids)) == 60


async def test_a_missing_slot_is_asked_for_and_its_answer_completes_the_request(kit: Kit) -> None:
    kit.brain.script = {"note": Intent("take_note", {}, 0.9), "milk": Intent("take_note", {"content": "milk"}, 0.9)}
    await kit.hear("note")
    assert await kit.said() == ["What should I note?"]
    await kit.hear("milk")
    assert kit.brain.seen[-1].state.asked == ("content",)
    assert (await kit.said())[-1] == "Done. Noted: milk."
    async with kit.db.transaction() as session:
        receipt = (await session.scalars(select(Receipt))).one()
        assert (receipt.state, receipt.action) == ("done", "take_note")
        assert await opened(session, receipt, "params") == {"content": "milk", "colour": "green"}
        assert (await opened(session, receipt, "result") or {})["text"] == "Done. Noted: milk."


async def test_a_request_in_pieces_is_one_request(kit: Kit) -> None:
    kit.brain.script = {"note": Intent("take_note", {}, 0.9), "milk": Intent("take_note", {"content": "milk"}, 0.9)}
    await kit.inbox.receive([say("note"), say("milk")])
    await kit.answer_all()
    assert await kit.said() == ["Done. Noted: milk."]


async def test_two_requests_at_once_are_both_run(kit: Kit) -> None:
    kit.brain.script = {text: Intent("take_note", {"content": text}, 0.9) for text in ("milk", "eggs")}
    await kit.inbox.receive([say("milk"), say("eggs")])
    await kit.answer_all()
    assert await kit.said() == ["Done. Noted: milk.\n\nDone. Noted: eggs."]
    assert await kit.db.pool.fetchval("SELECT count(*) FROM receipt WHERE state = 'done'") == 2


async def test_dialog_state_lives_six_hours(kit: Kit) -> None:
    kit.brain.script = {"note": Intent("take_note", {}, 0.9)}
    await kit.hear("note")
    [key] = await kit.valkey.keys("dialog:*")
    assert STATE_TTL_S - 5 <= await kit.valkey.ttl(key) <= STATE_TTL_S == 21_600


async def test_lost_dialog_state_means_asking_again(kit: Kit) -> None:
    kit.brain.script = {"note": Intent("take_note", {"colour": "red"}, 0.9)}
    await kit.hear("note")
    await kit.valkey.flushall()
    await kit.hear("yes")
    assert kit.brain.seen[-1].state == DialogState()


async def test_dialog_state_never_crosses_conversations(kit: Kit) -> None:
    kit.brain.script = {"note": Intent("take_note", {"colour": "red"}, 0.9)}
    await kit.hear("note", room="r1")
    await kit.hear("hello", room="r2")
    assert kit.brain.seen[-1].state == DialogState()


async def test_each_message_is_answered_in_its_language_and_one_that_does_not_tell_in_the_last(kit: Kit) -> None:
    lines = ("andika kitu tafadhali", "ok", "please note this", "Nairobi")
    kit.brain.script = dict.fromkeys(lines, Intent("take_note", {}, 0.9))
    for line in lines:
        await kit.hear(line)
    assert await kit.said() == [
        "Niandike nini?", "Niandike nini?", "What should I note?",
        "Let us leave that for now. Ask me again whenever you like.",
    ]  # fmt: skip


async def test_messages_that_waited_together_speak_on_in_the_language_of_the_last_that_told(kit: Kit) -> None:
    kit.brain.script = dict.fromkeys(("weka hii kwenye daftari", "ok"), Intent("take_note", {}, 0.9))
    await kit.inbox.receive([say(text, room="r1") for text in ("please", "weka hii kwenye daftari", "ok")])
    await kit.answer_all()
    assert [turn.person.language for turn in kit.brain.seen] == ["en", "sw", "sw"]
    assert (await kit.said())[-1].endswith("Niandike nini?")
    assert await kit.db.pool.fetchval("SELECT language FROM person") == "sw"


async def test_a_language_that_was_chosen_is_spoken_whatever_is_written(kit: Kit) -> None:
    kit.brain.script["please note this"] = Intent("take_note", {}, 0.9)
    await kit.hear("habari yako")
    await kit.db.pool.execute("UPDATE person SET language_chosen = true")
    await kit.hear("please note this")
    assert (await kit.said())[-1] == "Niandike nini?"
    assert await kit.db.pool.fetchval("SELECT language FROM person") == "sw"


async def test_a_request_is_dropped_after_asking_in_vain(kit: Kit) -> None:
    kit.brain.script = {"note": Intent("take_note", {}, 0.9)}
    for _ in range(QUESTIONS_MAX + 1):
        await kit.hear("note")
    said = await kit.said()
    assert said[:QUESTIONS_MAX] == ["What should I note?"] * QUESTIONS_MAX
    assert "leave that" in said[-1]
    assert await kit.valkey.keys("dialog:*") == [] or kit.brain.seen[-1].state.asked


@pytest.mark.parametrize(
    ("slots", "answer"),
    [
        ({"content": "too much"}, "You have enough notes. Delete one first."),
        ({"content": "x", "colour": "loud"}, "That is no colour. Which one?"),
        ({"content": "away"}, "The notebook is not answering just now. Please try again in a minute."),
    ],
    ids=["the person can fix it", "a slot will not do", "a third party failed"],
)
async def test_failures_are_sentences(kit: Kit, slots: dict[str, Any], answer: str) -> None:
    kit.brain.script = {"go": Intent("take_note", slots, 0.9)}
    await kit.hear("go")
    assert await kit.said() == [answer]


@pytest.mark.parametrize(
    ("content", "part"), [("milk", Text(text="Done. Noted: milk.")), ("a card", Card(title="Noted"))]
)
async def test_an_action_repeated_after_a_crash_runs_once(kit: Kit, content: str, part: Part) -> None:
    kit.brain.script = {"go": Intent("take_note", {"content": content}, 0.9)}
    await kit.inbox.receive([say("go")])
    [first] = await kit.turns.claim(1)
    await run_turn(first, kit.deps)  # and the process dies before it closes the turn
    await kit.db.pool.execute("UPDATE turn SET lease_until = clock_timestamp() - interval '1 s'")
    await kit.answer_all()
    [said] = await messages(kit.db, "WHERE direction = 'out'")
    assert PARTS.validate_python(said["parts"]) == (part,)
    assert await kit.db.pool.fetchval("SELECT count(*) FROM audit WHERE verb = 'noted'") == 1


async def test_chat_goes_on_without_valkey(kit: Kit, tmp_path_factory: pytest.TempPathFactory) -> None:
    nowhere = connect_valkey(f"unix://{tmp_path_factory.mktemp('v')}/none.sock")
    dialogs = DialogStore(nowhere, kit.db.keys)
    turns = Turns(kit.db, Wakes(kit.db), dialogs, Limits(nowhere), lease_s=30, zone="Africa/Nairobi")
    kit.brain.script = {"note": Intent("take_note", {}, 0.9)}
    await kit.inbox.receive([say("note")])
    [turn] = await turns.claim(1)
    assert await turns.close(await run_turn(turn, kit.deps))
    assert await kit.said() == ["What should I note?"]
    await nowhere.aclose()


async def test_text_parts_of_a_reply_are_what_is_stored(kit: Kit) -> None:
    await kit.inbox.receive([say("one")])
    [turn] = await kit.turns.claim(1)
    await kit.turns.close(Closing(turn, Reply.of("Pick one.", ("a", "b")), turn.state))
    [row] = await messages(kit.db, "WHERE direction = 'out'")
    parts = row["parts"]
    assert parts == [{"kind": "text", "text": "Pick one."}, {"kind": "choices", "options": ["a", "b"]}]
    assert Text(**parts[0]).text == "Pick one."


async def test_a_turn_without_a_reply_says_nothing(kit: Kit) -> None:
    await kit.inbox.receive([say("one")])
    [turn] = await kit.turns.claim(1)
    assert await kit.turns.close(Closing(turn, None, turn.state))
    assert await kit.said() == []
    assert await kit.db.pool.fetchval("SELECT state FROM turn") == "done"


async def test_a_turn_that_hangs_is_stopped_and_tried_again(kit: Kit) -> None:
    class HangingBrain(ScriptedBrain):
        async def think(self, turn: Asked, offered: Sequence[Action[Any]]) -> Intent | Reply | Plan:
            self.seen.append(turn)
            await asyncio.Event().wait()
            raise AssertionError

    brain = HangingBrain()
    settings = Settings(_env_file=None, turn_lease_s=0.5)
    runner = TurnRunner(kit.turns, replace(kit.deps, brain=brain, settings=settings), Wakes(kit.db), turn_s=0.2)
    await kit.inbox.receive([say("hello")])
    running = asyncio.create_task(runner.run())
    try:
        given_back = "SELECT lease_until > clock_timestamp() + interval '40 s' FROM turn"
        await until(lambda: kit.db.pool.fetchval(given_back), what="giving the turn back")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert await kit.db.pool.fetchval("SELECT state FROM turn") == "open"
    assert len(brain.seen) == 1


async def test_an_action_over_its_limit_is_not_run_and_says_when_it_resets(kit: Kit) -> None:
    kit.brain.script = {"go": Intent("take_note", {"content": "milk"}, 0.9)}
    await kit.hear("go")
    [key] = await kit.valkey.keys("limit:calls:*")
    await kit.valkey.set(key, CALLS.count)
    await kit.hear("go")
    assert "You have asked for 100 things this hour" in (await kit.said())[-1]
    assert await kit.db.pool.fetchval("SELECT count(*) FROM receipt") == 1


async def test_over_the_days_messages_a_person_is_told_once_and_then_not_answered(kit: Kit) -> None:
    await kit.hear("one")
    [key] = await kit.valkey.keys("limit:messages:*")
    assert await kit.valkey.get(key) == b"1"
    await kit.valkey.set(key, MESSAGES.count - 1)
    await kit.inbox.receive([say("two", room="r1"), say("three", room="r1")])
    await kit.answer_all()
    await kit.hear("four")
    await kit.hear("five")
    said = await kit.said()
    assert len(said) == 2
    assert said[1].startswith("You said two.\n\nYou have sent 1,000 messages today")
    assert [asked.text for asked in kit.brain.seen] == ["one", "two"]
    held = await kit.db.pool.fetchval("SELECT intent FROM turn ORDER BY id DESC LIMIT 1")
    assert held == {"messages": [{"action": "none", "held": "quota"}]}
    await kit.db.pool.execute("UPDATE person SET plan = 'pro'")
    await kit.hear("six")
    assert len(await kit.said()) == 2, "a plan without a factor is times one"
    await kit.valkey.flushall()
    await kit.hear("seven")
    assert (await kit.said())[-1] == "You said seven."


async def test_a_turn_tried_again_is_counted_once(kit: Kit) -> None:
    await kit.inbox.receive([say("one")])
    for _ in range(3):
        await kit.turns.claim(1)
        await kit.db.pool.execute("UPDATE turn SET lease_until = clock_timestamp() - interval '1 s'")
    [key] = await kit.valkey.keys("limit:messages:*")
    assert await kit.valkey.get(key) == b"1"


async def test_a_muted_person_is_met_with_silence_and_may_appeal_once(kit: Kit) -> None:
    await kit.hear("hello")
    await kit.db.pool.execute("UPDATE person SET muted_until = now() + interval '1 day'")
    await kit.db.pool.execute(
        "INSERT INTO mute (person_id, conversation_id, until)"
        " SELECT p.id, c.id, p.muted_until FROM person p, conversation c"
    )
    for text in ("hello?", "Appeal!", "appeal"):
        await kit.hear(text)
    assert await kit.said() == ["You said hello.", "Thank you. Somebody of our staff will look at it."]
    assert [asked.text for asked in kit.brain.seen] == ["hello"]
    assert await kit.db.pool.fetchval("SELECT appealed_at FROM mute") is not None
    await kit.db.pool.execute("UPDATE person SET muted_until = now() - interval '1 s'")
    await kit.hear("back")
    assert (await kit.said())[-1] == "You said back."


def note(content: str | None = None) -> Intent:
    return Intent("take_note", {} if content is None else {"content": content}, 1.0)


async def test_several_requests_of_one_message_are_done_in_their_order_each_once(kit: Kit) -> None:
    kit.brain.script["all"] = Plan((note("milk"), Reply.of("By the way."), note("bread")))
    await kit.inbox.receive([say("all")])
    [turn] = await kit.turns.claim(10)
    await run_turn(turn, kit.deps)  # and its process dies before closing
    assert await kit.turns.close(await run_turn(turn, kit.deps))
    assert await kit.said() == ["Done. Noted: milk.\n\nBy the way.\n\nDone. Noted: bread."]
    noted = await kit.db.pool.fetch("SELECT subject FROM audit WHERE verb = 'noted' ORDER BY id")
    assert [row["subject"] for row in noted] == [f"turn:{turn.id}:1", f"turn:{turn.id}:1:2"]


async def test_what_is_asked_for_behind_a_question_is_done_after_its_answer(kit: Kit) -> None:
    kit.brain.script |= {
        "all": Plan((note(), note("bread"), Reply.of("That I cannot do."))),
        "milk": note("milk"),
        "hm": Reply.of("Sorry?"),
    }
    await kit.hear("all")
    await kit.hear("hm")
    await kit.hear("milk")
    await kit.hear("milk")
    assert await kit.said() == [
        "That I cannot do.\n\nWhat should I note?",
        "Sorry?",
        "Done. Noted: milk.\n\nDone. Noted: bread.",
        "Done. Noted: milk.",
    ]


async def test_another_request_instead_of_an_answer_is_answered_first_and_the_rest_goes_on(kit: Kit) -> None:
    kit.brain.script |= {"all": Plan((note(), note("bread"))), "burn": Intent("burn_note", {"content": "it"}, 1.0)}
    await kit.hear("all")
    await kit.hear("burn")
    code = (await kit.said())[-1].rpartition("10 minutes: ")[2][:5]
    await kit.hear(code)
    said = [one.partition("\n")[0] for one in await kit.said()]
    assert said == ["What should I note?", "This burns it.", "Burnt: it."]
    kit.brain.script["milk"] = note("milk")
    await kit.hear("milk")
    assert (await kit.said())[-2:] == ["Burnt: it.\n\nWhat should I note?", "Done. Noted: milk.\n\nDone. Noted: bread."]


async def test_what_is_asked_for_behind_something_to_confirm_waits_for_the_code(kit: Kit) -> None:
    kit.brain.script["all"] = Plan((Intent("burn_note", {"content": "it"}, 1.0), note("bread")))
    rest = "I stopped there, and did not do the rest of what you asked for."
    for answer, then in (
        ("cancel", f"All right. Nothing has happened.\n\n{rest}"), ("code", "Burnt: it.\n\nDone. Noted: bread."),
    ):  # fmt: skip
        await kit.hear("all")
        code = (await kit.said())[-1].rpartition("10 minutes: ")[2][:5]
        await kit.hear(code if answer == "code" else answer)
        assert (await kit.said())[-1] == then


async def test_what_is_to_be_confirmed_stands_below_what_was_answered_with_it_and_keeps_its_button(kit: Kit) -> None:
    kit.brain.script |= {
        "burn": Intent("burn_note", {"content": "a leaf"}, 1.0),
        "hello": Reply.of("Hello.", ("Help",)),
        "both": Plan((Intent("burn_note", {"content": "a leaf"}, 1.0), Reply.of("Hello."))),
    }
    for lines in (("burn", "hello", "eggs"), ("both", "eggs")):
        await kit.inbox.receive([say(line, room="r1") for line in lines])
        [turn] = await kit.turns.claim(10)
        closing = await run_turn(turn, kit.deps)
        assert await kit.turns.close(closing)
        assert closing.reply is not None
        said, _, code = text_of(closing.reply.parts[:1]).partition("10 minutes: ")
        *before, prompt, _ = said.split("\n\n")
        assert (sorted(before), prompt) == (["Hello.", "You said eggs."], "This burns a leaf.")
        assert closing.reply.options == closing.state.shown == (f"Yes · {code[:5]}",)
    await kit.hear("1")
    assert (await kit.said())[-1] == "Burnt: a leaf."


async def test_a_prompt_that_was_cancelled_in_the_same_breath_is_not_shown(kit: Kit) -> None:
    kit.brain.script["burn"] = Intent("burn_note", {"content": "it"}, 1.0)
    await kit.inbox.receive([say("burn"), say("cancel"), say("eggs")])
    await kit.answer_all()
    [told] = await kit.said()
    assert told == "All right. Nothing has happened.\n\nYou said eggs."


async def test_of_two_things_to_confirm_in_one_breath_one_is_shown_and_the_other_comes_when_it_is_done(
    kit: Kit,
) -> None:
    leaf, twig = (Intent("burn_note", {"content": what}, 1.0) for what in ("a leaf", "a twig"))
    kit.brain.script |= {"burn a leaf": leaf, "burn a twig": twig, "both": Plan((leaf, twig))}
    for lines in (("burn a leaf", "burn a twig"), ("both",)):
        await kit.inbox.receive([say(line, room="r1") for line in lines])
        await kit.answer_all()
        told = (await kit.said())[-1]
        assert told.startswith("I will show you the next one once this is confirmed.\n\nThis burns a leaf.")
        [code] = re.findall(r"10 minutes: (\d{5})", told)
        await kit.hear("eggs")
        await kit.hear(code)
        then = (await kit.said())[-1]
        assert then.startswith("Burnt: a leaf.\n\nThis burns a twig.")
        [code] = re.findall(r"10 minutes: (\d{5})", then)
        await kit.hear(code)
        assert (await kit.said())[-1] == "Burnt: a twig."


async def test_what_is_taken_back_in_the_same_breath_is_not_shown_to_be_confirmed(kit: Kit) -> None:
    kit.brain.script |= {
        "burn a leaf": Intent("burn_note", {"content": "a leaf"}, 1.0),
        "no, burn a twig": Intent("burn_note", {"content": "a twig"}, 1.0),
    }
    await kit.inbox.receive([say("burn a leaf", room="r1"), say("no, burn a twig", room="r1")])
    await kit.answer_all()
    [told] = await kit.said()
    assert told.startswith("Of what you were to confirm, only this last one still counts.\n\nThis burns a twig.")
    [code] = re.findall(r"10 minutes: (\d{5})", told)
    await kit.hear(code)
    assert (await kit.said())[-1] == "Burnt: a twig."


async def test_after_a_step_that_failed_nothing_more_is_done_and_that_is_said(kit: Kit) -> None:
    kit.brain.script["all"] = Plan((note("too much"), note("bread")))
    await kit.hear("all")
    assert await kit.said() == [
        "You have enough notes. Delete one first.\n\nI stopped there, and did not do the rest of what you asked for."
    ]


async def test_a_turn_keeps_what_each_message_was_answered_with_and_no_words(kit: Kit) -> None:
    said: dict[str, Intent | Reply | Plan] = {
        "what?": Told(Reply.of("Sorry?").parts, "not_understood"),
        "burn?": Told(Reply.of("Burn it?").parts, "did_you_mean", "burn_note", 0.7, guessed=True),
        "note": note(),
        "note milk": note("milk"),
        "note too much": note("too much"),
        "note and go": Plan((note("secret"), note("away"))),
        "burn milk": Intent("burn_note", {"content": "milk"}, 0.8, guessed=True),
    }
    kit.brain.script.update(said)
    for text in ("hello", *said):
        await kit.hear(text)
    [key] = await kit.valkey.keys("limit:calls:*")
    await kit.valkey.set(key, CALLS.count)
    await kit.hear("note milk")
    rows = await kit.db.pool.fetch("SELECT intent FROM turn ORDER BY id")
    kept = [row["intent"]["messages"][0] for row in rows]
    assert [one["answer"] for one in kept] == [
        "chat", "not_understood", "did_you_mean", "asked", "ran", "limited", "ran", "confirm", "limited",
    ]  # fmt: skip
    assert kept[2] == {
        "parser": "rules",
        "action": "none",
        "answer": "did_you_mean",
        "guess": "burn_note",
        "confidence": 0.7,
    }
    assert [step["answer"] for step in kept[6]["then"]] == ["failed"]
    assert kept[7]["guessed"] is True
    assert kept[8]["limit"] == "calls"
    assert "secret" not in str(kept)
    assert "milk" not in str(kept)
