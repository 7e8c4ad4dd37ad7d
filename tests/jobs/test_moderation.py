"""Moderation: everything written is judged, late commits too; three flags mute their writer once, and nobody else."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from core import moderation
from core.db import Database
from core.inbox import Inbox
from core.messages import Text
from core.providers import Providers
from core.sealed import by_identity, seal
from core.settings import Settings
from core.wake import Wakes
from jobs.moderation import BATCH, TRIES_MAX, Cutter, clean, judge_waiting
from tests.conftest import Sandbox
from tests.factories import say
from tests.said import texts

PLAIN = Settings(_env_file=None)


@pytest.fixture
async def providers() -> AsyncIterator[Providers]:
    found = Providers(PLAIN, backoff_s=0.01)
    yield found
    await found.close()


async def hear(db: Database, *texts: str, room: str = "r1") -> None:
    await Inbox(db, Wakes(db)).receive([say(text, room=room) for text in texts])


async def late(db: Database) -> None:
    """Make what is not yet in a batch six minutes old."""
    await db.pool.execute("UPDATE message SET created_at = created_at - interval '6 minutes'")


async def judge(db: Database, providers: Providers, settings: Settings = PLAIN) -> None:
    """Put all that is six minutes old into batches, and judge them."""
    await late(db)
    cutter = Cutter(db)
    await cutter.cut()
    await cutter.cut()
    await judge_waiting(db, Wakes(db), providers, settings)


async def flags(db: Database) -> list[tuple[str, str]]:
    rows = await db.pool.fetch("SELECT label, judge FROM moderation_flag ORDER BY message_id, label")
    return [(row["label"], row["judge"]) for row in rows]


async def test_ten_messages_are_a_batch_at_once_and_fewer_after_five_minutes(db: Database) -> None:
    await hear(db, *(f"m{number}" for number in range(BATCH * 2 + 3)))
    cutter = Cutter(db)
    assert await cutter.cut() == 0, "what is seen for the first time may have gaps still"
    assert await cutter.cut() == 2
    assert await cutter.cut() == 0
    await late(db)
    assert await cutter.cut() == 1
    ranges = await db.pool.fetch("SELECT after_id, last_id FROM moderation_batch ORDER BY id")
    assert [row["after_id"] for row in ranges] == [0, *(row["last_id"] for row in ranges[:-1])]


async def test_a_message_committed_late_below_others_is_judged(
    db: Database, database_url: str, providers: Providers
) -> None:
    await hear(db, "hello", room="r1")
    held = await asyncpg.connect(database_url)
    try:
        transaction = held.transaction()
        await transaction.start()
        await held.execute("UPDATE conversation SET next_seq = next_seq + 1")
        first = await held.fetchrow("SELECT conversation_id, identity_id FROM message")
        key = (await db.keys.current(held, [first["conversation_id"]]))[first["conversation_id"]]
        await held.execute(
            "INSERT INTO message (conversation_id, seq, direction, channel, account, event_id, identity_id, turn_id,"
            " sealed, created_at) SELECT conversation_id, seq + 1, 'in', channel, account, 'late', identity_id,"
            " turn_id, $1, created_at FROM message",
            seal(key, "late", by_identity(first["identity_id"]), (Text(text="nitakuua"),)),
        )
        await hear(db, *(f"m{number}" for number in range(BATCH * 2)), room="r2")
        cutter = Cutter(db)
        for _ in range(5):
            await cutter.cut()
        assert await db.pool.fetchval("SELECT count(*) FROM moderation_batch") == 0, "it waits for the open one"
        await transaction.commit()
    finally:
        await held.close()
    await late(db)
    for _ in range(3):
        await cutter.cut()
    while await judge_waiting(db, Wakes(db), providers, PLAIN):
        pass
    assert await flags(db) == [("threat", "word list")]


async def test_racing_workers_put_every_message_into_one_batch(db: Database, providers: Providers) -> None:
    await hear(db, *(f"shut up you idiot moron {number}" for number in range(95)))
    cutters = [Cutter(db) for _ in range(6)]
    for _ in range(3):
        await asyncio.gather(*(cutter.cut() for cutter in cutters))
    rows = await db.pool.fetch("SELECT after_id, last_id FROM moderation_batch ORDER BY last_id")
    assert len(rows) == 9
    assert [row["after_id"] for row in rows[1:]] == [row["last_id"] for row in rows[:-1]]
    claimed = await asyncio.gather(*(judge_waiting(db, Wakes(db), providers, PLAIN) for _ in range(6)))
    assert sum(claimed) == 9


async def test_three_flagged_messages_mute_their_writer_once_and_tell_them_once(
    db: Database, providers: Providers
) -> None:
    await hear(db, "mjinga wewe", "what is the weather?", "I will kill you", room="r1")
    await hear(db, "hello", room="r2")
    await judge(db, providers)
    assert await db.pool.fetchval("SELECT count(*) FROM mute") == 0
    for _ in range(4):
        await hear(db, *["fuck you"] * BATCH, room="r1")
    cutter = Cutter(db)
    await cutter.cut()
    await cutter.cut()
    await asyncio.gather(*(judge_waiting(db, Wakes(db), providers, PLAIN) for _ in range(4)))
    assert await db.pool.fetchval("SELECT count(*) FROM mute") == 1
    muted = await db.pool.fetch("SELECT name FROM person WHERE muted_until > now() + interval '23 hours'")
    assert len(muted) == 1
    assert await texts(db, "JOIN outbox o USING (id) WHERE o.kind = 'moderation'") == [moderation.MUTED["en"]]
    audit = await db.pool.fetchrow("SELECT actor, verb, detail FROM audit")
    assert (audit["actor"], audit["verb"]) == ("moderation", "person.muted")


async def test_dismissed_old_and_already_punished_flags_do_not_count(db: Database, providers: Providers) -> None:
    await hear(db, "fuck you", "fuck you")
    await judge(db, providers)
    await db.pool.execute("UPDATE moderation_flag SET dismissed_at = now()")
    await hear(db, "fuck you")
    await judge(db, providers)
    assert await db.pool.fetchval("SELECT count(*) FROM mute") == 0
    await db.pool.execute("UPDATE moderation_flag SET dismissed_at = NULL, created_at = now() - interval '8 days'")
    await hear(db, "fuck you", "fuck you")
    await judge(db, providers)
    assert await db.pool.fetchval("SELECT count(*) FROM mute") == 0
    await hear(db, "fuck you")
    await judge(db, providers)
    assert await db.pool.fetchval("SELECT count(*) FROM mute") == 1
    await db.pool.execute("UPDATE person SET muted_until = NULL")
    await hear(db, "fuck you", "fuck you")
    await judge(db, providers)
    assert await db.pool.fetchval("SELECT count(*) FROM mute") == 1, "a new mute takes three new flags"


async def test_a_batch_whose_lease_ended_is_closed_by_one_of_two(db: Database, providers: Providers) -> None:
    await hear(db, "fuck you", "fuck you", "fuck you")
    await late(db)
    cutter = Cutter(db)
    await cutter.cut()
    await cutter.cut()
    await asyncio.gather(*(_expire_and_judge(db, providers) for _ in range(4)))
    assert await flags(db) == [("obscene", "word list")] * 3
    assert await db.pool.fetchval("SELECT count(*) FROM mute") == 1


async def _expire_and_judge(db: Database, providers: Providers) -> None:
    await db.pool.execute("UPDATE moderation_batch SET lease_until = now() - interval '1 s' WHERE state = 'waiting'")
    await judge_waiting(db, Wakes(db), providers, PLAIN)


async def test_the_model_is_asked_where_there_is_a_token(db: Database, sandbox: Sandbox, providers: Providers) -> None:
    await hear(db, "you stupid thing", "hello", "nitakuua")
    await judge(db, providers, _asking(sandbox, "hf_test"))
    assert await flags(db) == [("insult", "toxic-bert"), ("toxic", "toxic-bert"), ("threat", "word list")]
    assert await db.pool.fetchval("SELECT judge FROM moderation_batch") == "toxic-bert"


@pytest.mark.parametrize("trouble", ["loading", "too many", "html", "refused"])
async def test_when_the_model_does_not_answer_the_words_judge(
    db: Database, sandbox: Sandbox, providers: Providers, trouble: str
) -> None:
    if trouble == "too many":
        plan = '{"plan": [{"fault": "429", "retry_after": 30}], "times": null}'
        assert sandbox.post("/toxicbert/_faults", plan) < 300
    if trouble == "html":
        assert sandbox.post("/toxicbert/_faults", '{"plan": ["200_html"], "times": null}') < 300
    settings = _asking(sandbox, {"loading": "hf_loading", "refused": "wrong"}.get(trouble, "hf_test"))
    await hear(db, "fuck you")
    await judge(db, providers, settings)
    tries = 1 if trouble == "refused" else TRIES_MAX + 1
    for _ in range(tries - 1):
        assert await flags(db) == [], "it is asked again later"
        await db.pool.execute("UPDATE moderation_batch SET lease_until = now() - interval '1 s'")
        await judge_waiting(db, Wakes(db), providers, settings)
    assert await flags(db) == [("obscene", "word list")]
    judged = await db.pool.fetchrow("SELECT state, judge, attempt FROM moderation_batch")
    assert tuple(judged) == ("done", "word list", tries)


async def test_old_flags_and_batches_are_forgotten_but_not_how_far_we_are(db: Database, providers: Providers) -> None:
    for _ in range(2):
        await hear(db, "fuck you")
        await judge(db, providers)
    await db.pool.execute("UPDATE moderation_flag SET created_at = now() - interval '91 days'")
    await db.pool.execute("UPDATE moderation_batch SET done_at = now() - interval '91 days'")
    await hear(db, "fuck you")
    await clean(db)
    assert await flags(db) == []
    assert await db.pool.fetchval("SELECT count(*) FROM moderation_batch") == 1
    await judge(db, providers)
    assert len(await flags(db)) == 1, "nothing is judged twice"


def _asking(sandbox: Sandbox, token: str) -> Settings:
    url = f"{sandbox.url}/toxicbert/hf-inference/models"
    return Settings(_env_file=None, hf_api_token=token, toxic_bert_base_url=url)
