"""Voice notes: written down once and answered as if typed, whoever dies; or the person is told why not."""

import asyncio
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import orjson
import pytest
from pydantic import SecretStr

from bot.sandbox.voices import voice_note
from core import conversations, voice
from core.db import Database
from core.inbox import Inbox
from core.limits import VOICE, VOICE_S, Whose
from core.media import NotFetched
from core.messages import Address, InboundMessage, Part, Text, Voice
from core.providers import Providers
from core.settings import Settings
from jobs.voice import LEASE, TRIES_MAX, Hands, write_down
from tests.conftest import Sandbox
from tests.core.speaking import TELEGRAM, Mathia, at, mathia

ASHA = at(TELEGRAM, "7000001")


@dataclass
class Scene:
    """A whole Mathia that listens: what is said in the notes is in `files`, by their references."""

    mathia: Mathia
    hands: Hands
    files: dict[str, bytes] = field(default_factory=dict)

    async def fetch(self, conversation_id: UUID, ref: str) -> bytes:
        """A file that is here."""
        if ref not in self.files:
            raise NotFetched
        return self.files[ref]

    async def speak(self, words: str | bytes | None, who: Address = ASHA, *more: Part) -> None:
        """A note arrives; with None its file is not here yet."""
        ref = f"file:{uuid4()}"
        if words is not None:
            self.files[ref] = words if isinstance(words, bytes) else voice_note(words)
        parts = (Voice(media_type="audio/ogg", ref=ref), *more)
        await self.mathia.inbox.receive([InboundMessage(who, uuid4().hex, parts, datetime.now(UTC))])

    async def notes(self) -> list[Any]:
        """All rows of notes, oldest first."""
        rows: list[Any] = await self.mathia.db.pool.fetch("SELECT * FROM transcription ORDER BY id")
        return rows

    async def write_down(self) -> None:
        """One try of every note that may be tried, as the sweep would hand them out."""
        for row in await self.mathia.db.pool.fetch(voice.CLAIMABLE, 100):
            await write_down(self.hands, row["id"])

    async def later(self, by: timedelta) -> None:
        """Let time pass for notes and turns."""
        pool = self.mathia.db.pool
        await pool.execute(
            "UPDATE transcription SET created_at = created_at - $1::interval, lease_until = lease_until - $1::interval",
            by,
        )
        await pool.execute("UPDATE turn SET lease_until = lease_until - $1::interval", by)

    async def transcripts(self) -> list[str | None]:
        """What is stored under the notes, oldest first."""
        return [note.transcript for note in await self.voices()]

    async def voices(self) -> list[Voice]:
        """All notes as they are stored, oldest first."""
        db = self.mathia.db
        rooms = await db.pool.fetch("SELECT id FROM conversation ORDER BY created_at")
        stored = [one for room in rooms for one in await conversations.history(db, room["id"], since=0)]
        return [part for one in stored for part in one.parts if isinstance(part, Voice)]


@asynccontextmanager
async def listening(db: Database, valkey_url: str, sandbox: Sandbox, key: str = "sk-test") -> AsyncIterator[Scene]:
    """A scene whose notes are written down by the simulator."""
    async with mathia(db, valkey_url) as whole:
        settings = Settings(
            _env_file=None,
            transcription_api_key=SecretStr(key),
            transcription_base_url=f"{sandbox.url}/transcription",
        )
        providers = Providers(settings)
        whole = replace(whole, inbox=Inbox(db, whole.wakes, transcribes=True))
        scene = Scene(whole, Hands(db, whole.wakes, providers, settings, lambda room, ref: scene.fetch(room, ref)))
        try:
            yield scene
        finally:
            await providers.close()


async def test_voice_note_is_answered_as_if_it_had_been_typed(db: Database, valkey_url: str, sandbox: Sandbox) -> None:
    async with listening(db, valkey_url, sandbox) as scene:
        typed = await scene.mathia.hear(at(TELEGRAM, "7000002"), "what can you do?")
        await scene.speak("what can you do?")
        await scene.mathia.answer()
        assert await scene.mathia.told(ASHA) == []  # It waits for the words.
        await scene.write_down()
        await scene.mathia.answer()
        assert await scene.mathia.told(ASHA) == [typed]
        assert await scene.transcripts() == ["what can you do?"]
        understood = await db.pool.fetchval("SELECT intent FROM turn ORDER BY id DESC LIMIT 1")
        assert understood["messages"][0]["spoken"] is True


async def test_words_of_a_note_reach_whoever_shows_the_room_as_a_change(
    db: Database, valkey_url: str, sandbox: Sandbox
) -> None:
    async with listening(db, valkey_url, sandbox) as scene:
        await scene.speak("habari")
        await scene.write_down()
        conversation_id = await db.pool.fetchval("SELECT id FROM conversation")
        [(number, _, message)] = await conversations.changed(db, conversation_id, since=0)
        assert number == 1
        assert message.edited_at is None
        assert [part.transcript for part in message.parts if isinstance(part, Voice)] == ["habari"]


async def test_what_is_written_after_a_note_is_answered_after_it(
    db: Database, valkey_url: str, sandbox: Sandbox
) -> None:
    async with listening(db, valkey_url, sandbox) as scene:
        await scene.speak("remind me tomorrow at 9 to call Otieno")
        await scene.mathia.answer()
        await scene.mathia.receive((ASHA, "list my reminders"))
        await scene.mathia.answer()
        assert await scene.mathia.told(ASHA) == []
        await scene.write_down()
        await scene.mathia.answer()
        first, second = await scene.mathia.told(ASHA)
        assert "Reminder set" in first
        assert "Otieno" in second


async def test_turn_waits_until_the_last_of_its_notes_is_written_down(
    db: Database, valkey_url: str, sandbox: Sandbox
) -> None:
    async with listening(db, valkey_url, sandbox) as scene:
        await scene.speak("asante")
        await scene.speak("list my reminders")
        await scene.mathia.answer()
        first, second = await scene.notes()
        await write_down(scene.hands, second["id"])
        await scene.mathia.answer()
        assert await scene.mathia.told(ASHA) == []
        await write_down(scene.hands, first["id"])
        await scene.mathia.answer()
        assert len(await scene.mathia.told(ASHA)) == 1
        assert await scene.transcripts() == ["asante", "list my reminders"]


@pytest.mark.parametrize("language", ["en", "sw"])
async def test_nobody_waits_longer_than_the_wait_allows(
    db: Database, valkey_url: str, sandbox: Sandbox, language: str
) -> None:
    async with listening(db, valkey_url, sandbox) as scene:
        await scene.speak(None)
        await db.pool.execute("UPDATE person SET language = $1", language)
        await scene.mathia.answer()
        await scene.later(timedelta(seconds=59))
        await scene.mathia.answer()
        assert await scene.mathia.told(ASHA) == []
        await scene.later(timedelta(seconds=2))
        await scene.mathia.answer()
        assert await scene.mathia.told(ASHA) == [voice.SORRY["late"][language]]


async def test_words_that_come_too_late_are_shown_and_answered_no_more(
    db: Database, valkey_url: str, sandbox: Sandbox
) -> None:
    async with listening(db, valkey_url, sandbox) as scene:
        await scene.speak("what can you do?")
        await scene.later(timedelta(seconds=61))
        await scene.mathia.answer()
        await scene.write_down()
        await scene.mathia.answer()
        assert await scene.mathia.told(ASHA) == [voice.SORRY["late"]["en"]]
        assert await scene.transcripts() == ["what can you do?"]


def cut_wav(seconds: int) -> bytes:
    """A WAV of so many seconds at 1,000 bytes a second."""
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36, b"WAVE", b"fmt ", 16, 1, 1, 1000, 1000, 1, 8, b"data",
                       seconds * 1000)  # fmt: skip
    return head + bytes(seconds * 1000)


BAD: Mapping[str, tuple[bytes, voice.Problem]] = {
    "no bytes": (b"", "empty"),
    "no sound": (voice_note("hello", seconds=0), "empty"),
    "six hours": (cut_wav(6 * 3600), "long"),
    "ten minutes and one second": (cut_wav(601), "long"),
    "more than 25 MB": (cut_wav(1) + bytes(25 * 2**20), "large"),
    "a page of HTML": (b"<!doctype html><html></html>", "unreadable"),
    "half a head": (b"OggS\0\2", "unreadable"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "unreadable"),
    "silence": (voice_note(""), "silent"),
}


@pytest.mark.parametrize("name", BAD)
async def test_note_that_cannot_be_written_down_is_refused_with_its_reason(
    db: Database, valkey_url: str, sandbox: Sandbox, name: str
) -> None:
    data, problem = BAD[name]
    async with listening(db, valkey_url, sandbox) as scene:
        await scene.speak(data)
        await scene.write_down()
        await scene.mathia.answer()
        assert await scene.mathia.told(ASHA) == [voice.SORRY[problem]["en"]]
        assert await scene.transcripts() == [None]


async def test_length_that_the_sender_states_is_not_believed(db: Database, valkey_url: str, sandbox: Sandbox) -> None:
    async with listening(db, valkey_url, sandbox) as scene:
        ref = f"file:{uuid4()}"
        scene.files[ref] = cut_wav(601)
        parts = (Voice(media_type="audio/ogg", ref=ref, duration_s=3, size=1000),)
        await scene.mathia.inbox.receive([InboundMessage(ASHA, uuid4().hex, parts, datetime.now(UTC))])
        await scene.write_down()
        await scene.mathia.answer()
        assert await scene.mathia.told(ASHA) == [voice.SORRY["long"]["en"]]


@pytest.mark.parametrize("fault", ["429", "500_not_executed", "500_executed", "reset_before_read", "200_html",
                                   "200_truncated_json"])  # fmt: skip
async def test_service_that_fails_is_asked_again_and_the_note_is_answered_once(
    db: Database, valkey_url: str, sandbox: Sandbox, fault: str
) -> None:
    async with listening(db, valkey_url, sandbox) as scene:
        await scene.speak("what can you do?")
        await scene.mathia.answer()
        plan = orjson.dumps({"plan": [fault]}).decode()
        assert sandbox.post("/transcription/_faults", plan) == 200
        await scene.write_down()
        await scene.write_down()  # Its next try is later.
        assert await scene.transcripts() == [None]
        await scene.later(timedelta(seconds=31))
        await scene.write_down()
        await scene.mathia.answer()
        assert await scene.transcripts() == ["what can you do?"]
        assert len(await scene.mathia.told(ASHA)) == 1


async def test_service_that_is_away_is_given_up_after_some_tries_and_the_person_is_told(
    db: Database, valkey_url: str
) -> None:
    async with listening(db, valkey_url, Sandbox("http://127.0.0.1:9", 9)) as scene:
        await scene.speak("what can you do?")
        await scene.mathia.answer()
        for _ in range(TRIES_MAX):
            assert await scene.mathia.told(ASHA) == []
            await scene.write_down()
            await scene.later(timedelta(seconds=10))
        await scene.mathia.answer()
        assert await scene.mathia.told(ASHA) == [voice.SORRY["away"]["en"]]
        assert [row["attempt"] for row in await scene.notes()] == [TRIES_MAX]


async def test_wrong_key_is_not_tried_again(db: Database, valkey_url: str, sandbox: Sandbox) -> None:
    async with listening(db, valkey_url, sandbox, key="wrong") as scene:
        await scene.speak("hello")
        await scene.write_down()
        await scene.mathia.answer()
        assert await scene.mathia.told(ASHA) == [voice.SORRY["away"]["en"]]
        assert [row["attempt"] for row in await scene.notes()] == [1]


async def test_note_of_a_worker_that_died_is_written_down_by_the_next_and_its_own_words_are_thrown_away(
    db: Database, valkey_url: str, sandbox: Sandbox
) -> None:
    async with listening(db, valkey_url, sandbox) as scene:
        await scene.speak("list my reminders")
        await scene.mathia.answer()
        [note] = await scene.notes()
        dead = await voice.claim(db, note["id"], LEASE)
        assert dead is not None
        await scene.write_down()
        assert await scene.transcripts() == [None]  # It is leased.
        await db.pool.execute("UPDATE transcription SET lease_until = clock_timestamp()")
        await scene.write_down()
        assert not await voice.settle(db, scene.mathia.wakes, dead, "something else")
        await scene.mathia.answer()
        assert await scene.transcripts() == ["list my reminders"]
        assert len(await scene.mathia.told(ASHA)) == 1
        assert await db.pool.fetchval("SELECT changes FROM conversation") == 1


async def test_eight_workers_at_once_write_a_note_down_once(db: Database, valkey_url: str, sandbox: Sandbox) -> None:
    async with listening(db, valkey_url, sandbox) as scene:
        await scene.speak("asante")
        [note] = await scene.notes()
        await asyncio.gather(*(write_down(scene.hands, note["id"]) for _ in range(8)))
        assert await db.pool.fetchval("SELECT count(*) FROM change") == 1
        assert [row["attempt"] for row in await scene.notes()] == [1]


async def test_note_that_was_settled_just_before_its_turn_would_wait_is_read_again(
    db: Database, valkey_url: str, sandbox: Sandbox
) -> None:
    async with listening(db, valkey_url, sandbox) as scene:
        await scene.speak("what can you do?")
        row = await db.pool.fetchrow("UPDATE turn SET state = 'open', attempt = 1, lease_until = now() + '9 s'"
                                     " RETURNING id, conversation_id")  # fmt: skip
        stored = await conversations.history(db, row["conversation_id"], since=0)
        messages = [InboundMessage(ASHA, one.event_id or "", one.parts, one.created_at) for one in stored]
        await scene.write_down()
        waits = await voice.park(db, row["conversation_id"], row["id"], 1, messages, timedelta(seconds=60))
        assert waits is None
        await scene.mathia.answer()
        assert len(await scene.mathia.told(ASHA)) == 1


async def test_note_that_was_deleted_is_not_written_down(db: Database, valkey_url: str, sandbox: Sandbox) -> None:
    async with listening(db, valkey_url, sandbox) as scene:
        await scene.speak("my secret")
        await db.pool.execute("UPDATE message SET sealed = NULL, deleted_at = now()")
        await scene.write_down()
        await scene.mathia.answer()
        assert await scene.mathia.told(ASHA) == []
        assert await db.pool.fetchval("SELECT sealed FROM message") is None
        assert await db.pool.fetchval("SELECT count(*) FROM change") == 0


async def test_file_that_is_still_with_its_provider_is_waited_for_without_using_up_tries(
    db: Database, valkey_url: str, sandbox: Sandbox
) -> None:
    async with listening(db, valkey_url, sandbox) as scene:
        await scene.speak(None)
        for _ in range(TRIES_MAX + 2):
            await scene.write_down()
            await scene.later(timedelta(seconds=2))
        [note] = await scene.voices()
        scene.files[note.ref] = voice_note("habari")
        await scene.write_down()
        assert await scene.transcripts() == ["habari"]


async def test_where_nobody_writes_notes_down_the_person_is_told(db: Database, valkey_url: str) -> None:
    async with mathia(db, valkey_url) as whole:
        parts = (Voice(media_type="audio/ogg", ref="file:x"),)
        for language in ("en", "sw"):
            await whole.inbox.receive([InboundMessage(ASHA, uuid4().hex, parts, datetime.now(UTC))])
            await db.pool.execute("UPDATE person SET language = $1", language)
            await whole.answer()
        assert await whole.told(ASHA) == [voice.SORRY["off"]["en"], voice.SORRY["off"]["sw"]]
        assert await db.pool.fetchval("SELECT count(*) FROM transcription") == 0


async def test_words_beside_a_note_that_failed_are_answered_too(
    db: Database, valkey_url: str, sandbox: Sandbox
) -> None:
    async with listening(db, valkey_url, sandbox) as scene:
        await scene.speak(b"", ASHA, Text(text="list my reminders"))
        await scene.write_down()
        await scene.mathia.answer()
        [told] = await scene.mathia.told(ASHA)
        assert told.startswith(voice.SORRY["empty"]["en"])
        assert "reminder" in told


async def test_muted_person_is_not_waited_for(db: Database, valkey_url: str, sandbox: Sandbox) -> None:
    async with listening(db, valkey_url, sandbox) as scene:
        await scene.speak("hello")
        await db.pool.execute("UPDATE person SET muted_until = now() + '1 hour'")
        await scene.mathia.answer()
        assert await db.pool.fetchval("SELECT state FROM turn") == "done"


async def test_day_has_room_for_so_many_seconds_and_the_next_day_for_as_many_again(
    db: Database, valkey_url: str, sandbox: Sandbox
) -> None:
    async with listening(db, valkey_url, sandbox) as scene:
        for _ in range(VOICE_S.count // 600):
            await scene.speak(voice_note("asante", seconds=600))
        await scene.speak("habari")
        await scene.write_down()
        assert await scene.transcripts() == ["asante"] * 3 + [None]
        assert [row["problem"] for row in await scene.notes()] == [None] * 3 + ["many"]
        await scene.mathia.answer()
        [told] = await scene.mathia.told(ASHA)
        assert voice.SORRY["many"]["sw"] in told  # They speak Swahili.
        scene.hands = replace(scene.hands, now=lambda: datetime.now(UTC) + timedelta(days=1))
        await scene.speak("kesho")
        await scene.write_down()
        assert (await scene.transcripts())[-1] == "kesho"


async def test_plan_multiplies_what_is_listened_to_and_another_person_has_their_own(
    db: Database, valkey_url: str, sandbox: Sandbox
) -> None:
    async with listening(db, valkey_url, sandbox) as scene:
        scene.hands = replace(scene.hands, settings=scene.hands.settings.model_copy(update={"plan_factors": "pro=2"}))
        for who in (ASHA, at(TELEGRAM, "7000009")):
            for _ in range(4):
                await scene.speak(voice_note("asante", seconds=600), who)
        await db.pool.execute(
            "UPDATE person SET plan = 'pro' WHERE id = (SELECT person_id FROM identity WHERE provider_id = $1)",
            ASHA.person,
        )
        await scene.write_down()
        assert [row["problem"] for row in await scene.notes()] == [None] * 7 + ["many"]


async def test_of_notes_written_down_at_once_no_more_are_let_through_than_there_is_room_for(
    db: Database, valkey_url: str, sandbox: Sandbox
) -> None:
    async with listening(db, valkey_url, sandbox) as scene:
        for _ in range(6):
            await scene.speak(voice_note("asante", seconds=600))
        await asyncio.gather(*(write_down(scene.hands, row["id"]) for row in await scene.notes()))
        assert sorted(row["state"] for row in await scene.notes()) == ["done"] * 3 + ["failed"] * 3


async def test_tries_of_one_note_are_counted_once_and_what_a_service_never_wrote_down_not_at_all(
    db: Database, valkey_url: str, sandbox: Sandbox
) -> None:
    async with listening(db, valkey_url, sandbox) as scene:
        await scene.speak(voice_note("asante", seconds=500))
        person = await db.pool.fetchval("SELECT person_id FROM identity WHERE provider_id = $1", ASHA.person)
        whose = Whose(str(person), ZoneInfo("Africa/Nairobi"))

        async def used() -> list[int]:
            return [use.used for use in await voice.uses(db, {}, whose, datetime.now(UTC))]

        assert sandbox.post("/transcription/_faults", orjson.dumps({"plan": ["500_not_executed"] * 1}).decode()) == 200
        await scene.write_down()
        assert await used() == [1, 500]
        await scene.later(timedelta(seconds=31))
        await scene.write_down()
        assert await scene.transcripts() == ["asante"]
        assert await used() == [1, 500]
    async with listening(db, valkey_url, Sandbox("http://127.0.0.1:9", 9)) as scene:
        await scene.speak(voice_note("habari", seconds=500))
        for _ in range(TRIES_MAX):
            await scene.write_down()
            await scene.later(timedelta(seconds=10))
        assert await used() == [1, 500]


async def test_day_has_room_for_so_many_notes_however_short(db: Database, valkey_url: str, sandbox: Sandbox) -> None:
    async with listening(db, valkey_url, sandbox) as scene:
        for _ in range(VOICE.count + 1):
            await scene.speak("habari")
        await scene.write_down()
        assert [row["problem"] for row in await scene.notes()] == [None] * VOICE.count + ["many"]
