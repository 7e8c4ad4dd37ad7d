"""Numbers that changed hands: nothing is paid there, talk goes on, and only who is known again ends it."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from pydantic import Field

from connectors import CONNECTORS
from core import confirm, erasure, renumber
from core.actions import Action, ActionContext, ActionResult, Connector, Effect, Params, action
from core.brain import Asked, Brain
from core.catalog import Catalog
from core.db import Database
from core.dialog import Intent, Plan
from core.language import Saying
from core.messages import Address, Reply, Text
from core.renumber import WAYS_OUT, Frozen, Renumbered, Seen, Watch
from core.turn_answer import run_turn
from tests.core.speaking import TELEGRAM, WEB, WHATSAPP, Mathia, at, mathia

OLD, NEW = at(WHATSAPP, "254712345678"), at(WHATSAPP, "254799999999")


class Payment(Params):
    amount: int = Field(description="Whole shillings", json_schema_extra={"ask": "How much?", "ask_sw": "Kiasi gani?"})


@action(effect=Effect.SPEND, examples=("pay 5",), counts=())
async def pay_somebody(ctx: ActionContext, params: Payment) -> ActionResult:
    """Move money, in this test alone."""
    return ActionResult(f"Done. Paid {params.amount}.")


REFUSED = Frozen(WAYS_OUT)
OVER = confirm.SAID["en"][confirm.Outcome.OVER]


@dataclass
class Paying:
    """Understands “pay 5” and leaves the rest to the real brain."""

    brain: Brain

    async def think(self, turn: Asked, offered: Sequence[Action[Any]]) -> Intent | Reply | Plan:
        if turn.text.startswith("pay "):
            return Intent("pay_somebody", {"amount": int(turn.text.removeprefix("pay "))}, 1.0)
        return await self.brain.think(turn, [one for one in offered if one.name != "pay_somebody"])


@asynccontextmanager
async def paying(db: Database, valkey_url: str) -> AsyncIterator[Mathia]:
    """Mathia with a skill that moves money, as if it were confirmed."""
    async with mathia(db, valkey_url) as whole:
        money = Connector("money", Saying("Money", "Pesa"), (pay_somebody,))
        catalog = Catalog([*CONNECTORS, money], whole.deps.settings, confirms=True)
        yield replace(whole, deps=replace(whole.deps, brain=Paying(whole.deps.brain), catalog=catalog))


def changed(*ids: str, event_id: str = "wamid.1", **more: Any) -> Renumbered:
    return Renumbered(WHATSAPP, "ours", ids, event_id, "number", **more)


async def pays(whole: Mathia, who: Address) -> bool:
    told = await whole.hear(who, "pay 5")
    assert told in ("Done. Paid 5.", REFUSED.to("en")), told
    return told == "Done. Paid 5."


async def verbs(db: Database) -> list[tuple[str, str]]:
    asked = "SELECT actor, verb FROM audit WHERE verb LIKE '%renumber%' ORDER BY id"
    return [(row["actor"].partition(":")[0], row["verb"]) for row in await db.pool.fetch(asked)]


async def test_a_number_that_changed_pays_nothing_and_talks_on(db: Database, valkey_url: str) -> None:
    async with paying(db, valkey_url) as whole:
        assert await pays(whole, OLD)
        for _ in range(2):
            await renumber.renumbered(db, changed(OLD.person, NEW.person))
        assert not await pays(whole, OLD)
        # The new number has not written before: it is somebody of its own, and pays nothing either.
        assert not await pays(whole, NEW)
        assert await whole.person(OLD) != await whole.person(NEW)
        assert await pays(whole, at(WHATSAPP, "254700000001"))
        assert await verbs(db) == [("provider", "identity.renumbered")]
        await whole.hear(OLD, "ongea Kiswahili")
        assert await whole.hear(OLD, "pay 5") == REFUSED.to("sw")


async def test_a_code_from_where_the_person_is_signed_in_settles_it(db: Database, valkey_url: str) -> None:
    async with paying(db, valkey_url) as whole:
        web = at(WEB, "v1")
        await whole.hear(web, "hello")
        assert "Linked" in await whole.hear(OLD, await whole.code(web))
        await renumber.renumbered(db, changed(OLD.person, NEW.person))
        assert await pays(whole, web), "where they are signed in nothing changed"
        assert not await pays(whole, OLD)
        assert "I know again that it is you" in await whole.hear(OLD, await whole.code(web))
        assert await pays(whole, OLD)
        # The new number joins the account by a code too.
        assert "Linked" in await whole.hear(NEW, await whole.code(web))
        assert await pays(whole, NEW)
        assert await whole.person(NEW) == await whole.person(OLD) == await whole.person(web)
        # The provider repeats itself for days; what was settled stays so.
        await renumber.renumbered(db, changed(OLD.person, NEW.person))
        assert await pays(whole, OLD)
        assert [verb for _, verb in await verbs(db)] == ["identity.renumbered", *["renumbering.settled"] * 2]


async def test_whoever_has_the_number_now_cannot_take_the_account_with_it(db: Database, valkey_url: str) -> None:
    async with paying(db, valkey_url) as whole:
        web, stranger = at(WEB, "v1"), at(TELEGRAM, "7000009")
        await whole.hear(web, "hello")
        await whole.hear(OLD, await whole.code(web))
        await whole.hear(stranger, "hello")
        early = await whole.code(OLD)
        await renumber.renumbered(db, changed(OLD.person, NEW.person))
        # A code of their own does not settle it, and does not move the account to them.
        assert "changed hands" in await whole.hear(OLD, await whole.code(stranger))
        # The number shows no code, and one it showed shortly before is no good.
        assert "changed hands" in await whole.hear(OLD, "link my account")
        assert "does not work" in await whole.hear(stranger, early)
        assert not await pays(whole, OLD)
        assert await whole.person(OLD) == await whole.person(web) != await whole.person(stranger)


async def test_a_code_shown_in_another_such_chat_proves_nothing(db: Database, valkey_url: str) -> None:
    async with paying(db, valkey_url) as whole:
        await whole.hear(NEW, "hello")
        code = await whole.code(NEW)
        await renumber.renumbered(db, changed(OLD.person))
        await db.pool.execute(
            "INSERT INTO renumbering (channel, account, provider_id, event_id, how)"
            " VALUES ('whatsapp', 'ours', $1, 'x', 'number')",
            NEW.person,
        )
        assert "changed hands" in await whole.hear(OLD, code)


async def test_another_lasting_id_behind_a_number_is_another_person(db: Database, valkey_url: str) -> None:
    async with paying(db, valkey_url) as whole:
        watch, other_process = Watch(db), Watch(db)

        async def seen(user_id: str) -> Seen:
            return Seen(OLD, user_id, uuid4().hex)

        await watch.notice([await seen("KE.1")])
        assert await pays(whole, OLD)
        for _ in range(2):
            await watch.notice([await seen("KE.1")])
            await other_process.notice([await seen("KE.1")])
        assert await pays(whole, OLD)
        await asyncio.gather(watch.notice([await seen("KE.2")]), other_process.notice([await seen("KE.2")]))
        assert not await pays(whole, OLD)
        assert await db.pool.fetchval("SELECT count(*) FROM renumbering WHERE how = 'user_id'") == 1
        assert await db.pool.fetchval("SELECT provider_user_id FROM identity") == "KE.2"


async def test_an_id_that_the_provider_replaces_freezes_the_number_before_it_once(
    db: Database, valkey_url: str
) -> None:
    async with paying(db, valkey_url) as whole:
        watch = Watch(db)
        assert await pays(whole, OLD)
        await watch.notice([Seen(OLD, "KE.1", "m1")])
        news = Renumbered(WHATSAPP, "ours", ("KE.1", "KE.2"), "e1", "user_id", ("KE.1",), "KE.2")
        await renumber.renumbered(db, news)
        assert not await pays(whole, OLD)
        await watch.notice([Seen(OLD, "KE.2", "m2")])
        assert await db.pool.fetchval("SELECT count(*) FROM renumbering WHERE provider_id = $1", OLD.person) == 1


async def test_a_number_that_moved_to_somebody_else_comes_back_by_no_late_message(
    db: Database, valkey_url: str
) -> None:
    async with paying(db, valkey_url) as whole:
        web = at(WEB, "v1")
        await whole.hear(web, "hello")
        await whole.hear(OLD, await whole.code(web))
        await Watch(db).notice([Seen(OLD, "KE.1", "m1")])
        await Watch(db).notice([Seen(OLD, "KE.2", "m2")])
        assert not await pays(whole, OLD)
        await whole.hear(OLD, await whole.code(web))
        # The provider delivers the first message again, and one that was underway; and so do other processes.
        for event_id, user_id in (("m1", "KE.1"), ("m0", "KE.1"), ("m2", "KE.2"), ("m3", "KE.2")):
            await Watch(db).notice([Seen(OLD, user_id, event_id)])
            assert await pays(whole, OLD)
        await Watch(db).notice([Seen(OLD, "KE.3", "m4")])
        assert not await pays(whole, OLD)


async def test_whoever_has_the_number_now_is_told_nothing_of_who_had_it(db: Database, valkey_url: str) -> None:
    async with paying(db, valkey_url) as whole:
        await whole.hear(OLD, "save Asha's number 0712345678")
        await whole.hear(OLD, "my name is Amina")
        await renumber.renumbered(db, changed(OLD.person, NEW.person))
        for asked in (
            "what is Asha's number?", "what do you know about me?", "export my data", "erase my data", "unlink",
            "my name is Baraka", "remind me in 1 hour to stretch", "forget Asha",
        ):  # fmt: skip
            assert await whole.hear(OLD, asked) == REFUSED.to("en")
        assert await db.pool.fetchval("SELECT count(*) FROM contact") == 1
        # Nobody wrote from the new number before, so there is nothing to tell there; but nothing is confirmed, either.
        assert "Name: Amina" not in await whole.hear(NEW, "what do you know about me?")
        assert "Reminder set" in await whole.hear(NEW, "remind me in 1 hour to stretch")
        assert await whole.hear(NEW, "erase my data") == REFUSED.to("en")
        assert "Reminder set" in await whole.hear(at(WHATSAPP, "254700000001"), "remind me in 1 hour to stretch")
        assert await whole.hear(OLD, "talk to a human") != REFUSED.to("en")


async def shown(whole: Mathia) -> str:
    """Ask for something that has to be confirmed; the code that is shown."""
    [code] = re.findall(r"\b[0-9]{5}\b", await whole.hear(OLD, "erase my data"))
    return str(code)


async def test_what_was_shown_before_is_not_done_after_even_once_it_is_settled(db: Database, valkey_url: str) -> None:
    async with paying(db, valkey_url) as whole:
        web = at(WEB, "v1")
        await whole.hear(web, "hello")
        await whole.hear(OLD, await whole.code(web))
        code = await shown(whole)
        await renumber.renumbered(db, changed(OLD.person, NEW.person))
        assert await whole.hear(OLD, code) == OVER
        await whole.hear(OLD, await whole.code(web))
        assert await whole.hear(OLD, code) == OVER
        assert await db.pool.fetchval("SELECT count(*) FROM erasure") == 0


async def test_what_was_confirmed_before_is_not_done_after(db: Database, valkey_url: str) -> None:
    async with paying(db, valkey_url) as whole:
        await whole.hear(OLD, "hello")
        code = await shown(whole)
        await whole.receive((OLD, code))
        [turn] = await whole.turns.claim(8)
        async with db.transaction() as session:
            used = await confirm.answer(session, OLD, code, datetime.now(UTC), f"turn:{turn.id}:1")
        assert used is not None
        assert used.outcome is confirm.Outcome.CONFIRMED
        await renumber.renumbered(db, changed(OLD.person))
        closing = await run_turn(turn, whole.deps)
        assert closing.reply is not None
        assert closing.reply.parts == (Text(text=REFUSED.to("en")),)
        assert await db.pool.fetchval("SELECT count(*) FROM erasure") == 0


async def test_a_change_and_a_confirmation_at_once_end_in_one_order(db: Database, valkey_url: str) -> None:
    async with paying(db, valkey_url) as whole:
        await whole.hear(OLD, "hello")
        for number in range(4):
            code = await shown(whole)

            async def confirms(code: str = code, number: int = number) -> confirm.Outcome | None:
                async with db.transaction() as session:
                    done = await confirm.answer(session, OLD, code, datetime.now(UTC), f"turn:{number}:1")
                return done.outcome if done else None

            news = changed(OLD.person, event_id=f"e{number}")
            outcome, *_ = await asyncio.gather(confirms(), *(renumber.renumbered(db, news) for _ in range(2)))
            state = await db.pool.fetchval("SELECT state FROM confirmation ORDER BY created_at DESC LIMIT 1")
            assert (outcome, state) in ((confirm.Outcome.CONFIRMED, "used"), (confirm.Outcome.OVER, "superseded"))
            assert not await pays(whole, OLD)
            async with db.transaction() as session:
                assert await renumber.lift(session, "whatsapp", "ours", OLD.person, "staff:owner")


async def test_what_was_done_before_is_told_again_and_not_refused(db: Database, valkey_url: str) -> None:
    async with paying(db, valkey_url) as whole:
        await whole.receive((OLD, "pay 5"))
        [turn] = await whole.turns.claim(8)
        await run_turn(turn, whole.deps)
        await renumber.renumbered(db, changed(OLD.person))
        # Its process died before the turn was closed.
        again = await run_turn(turn, whole.deps)
        assert again.reply is not None
        assert again.reply.parts == (Text(text="Done. Paid 5."),)
        assert await whole.turns.close(again)
        assert not await pays(whole, OLD)


async def test_erasing_the_person_leaves_neither_number_and_whoever_writes_is_somebody_else(
    db: Database, valkey_url: str
) -> None:
    async with paying(db, valkey_url) as whole:
        known = at(WHATSAPP, "254733333333")
        for who in (OLD, known):
            await whole.hear(who, "hello")
        person = await whole.person(OLD)
        await Watch(db).notice([Seen(OLD, "KE.1", "m1")])
        await renumber.renumbered(db, changed(OLD.person, NEW.person))
        # This one's new number was somebody else's before, who stays.
        await renumber.renumbered(db, changed(OLD.person, known.person, event_id="wamid.2"))
        await erasure.begin(db, person, asked_by="staff:owner", last_word_to=None)
        kept = await db.pool.fetch("SELECT provider_id FROM renumbering")
        assert [row["provider_id"] for row in kept] == [known.person]
        assert not await pays(whole, known)
        assert await db.pool.fetchval("SELECT count(provider_user_id) FROM identity") == 0
        assert await pays(whole, OLD)
        assert await whole.person(OLD) != person


def test_only_what_is_here_is_named_as_a_way_out() -> None:
    told = Frozen({"talk_to_human"}).to("en")
    assert told.endswith("so I do not do that here yet. You can always ask for a human.")
    assert "link" not in told
