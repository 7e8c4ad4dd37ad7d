"""Moderation: what judges say of messages, flags, and mutes. Only a person's own messages count against them.

There is no reporting of others, so nobody can be silenced by anybody else. Nothing here is on the way of a message: it
is judged afterwards, and a mute is read with the turn that it holds back.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog

from core import moderation_words
from core.db import Database
from core.errors import ProviderUnavailable
from core.messages import Text, text_of
from core.outbox import NewMessage, post
from core.providers import Providers
from core.sealed import COLUMNS, opened_parts
from core.settings import Settings

log = structlog.get_logger()

TOXIC_BERT = "toxic-bert"
FLAG_AT = 0.8
"""From this score on a label is a flag."""
TEXT_CHARS_MAX = 2_000
"""How much of a message toxic-bert is shown; it reads about 500 words."""
FLAGS_MAX = 3
WITHIN = timedelta(days=7)
MUTED_FOR = timedelta(hours=24)

APPEAL = re.compile(
    r"\W*(?:i (?:want|would like) to )?appeal\W*|\W*(?:nataka kukata |nakata |kata |naomba )?rufaa\W*", re.IGNORECASE
)
MUTED = {
    "en": "Some of your messages were abusive, so I will not answer for 24 hours. If you think this is a mistake, write"
    " “appeal” and a person will look at it.",
    "sw": "Baadhi ya ujumbe wako ulikuwa wa matusi, kwa hiyo sitajibu kwa saa 24. Ukiona ni kosa, andika “rufaa” na"
    " mtu ataangalia.",
}
APPEALED = {
    "en": "Thank you. Somebody of our staff will look at it.",
    "sw": "Asante. Mtu wetu ataangalia.",
}


@dataclass(frozen=True, slots=True)
class Written:
    """One message to judge, and who wrote it where."""

    message_id: int
    person_id: UUID
    conversation_id: UUID
    text: str


@dataclass(frozen=True, slots=True)
class Flag:
    """One label on one message."""

    message: Written
    label: str
    score: float
    judge: str


READ = f"""
SELECT m.id, {COLUMNS}, i.person_id FROM message m JOIN identity i ON i.id = m.identity_id
WHERE m.id > $1 AND m.id <= $2 AND m.direction = 'in' ORDER BY m.id
"""

FLAG = """
INSERT INTO moderation_flag (message_id, label, score, judge, person_id)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::float8[], $4::text[], $5::uuid[]) ON CONFLICT DO NOTHING
"""

TO_MUTE = """
SELECT p.id, p.language FROM person p
WHERE p.id = ANY($1::uuid[]) AND (p.muted_until IS NULL OR p.muted_until < clock_timestamp())
  AND (SELECT count(DISTINCT f.message_id) FROM moderation_flag f
       WHERE f.person_id = p.id AND f.dismissed_at IS NULL AND f.created_at > clock_timestamp() - $2::interval
         AND f.created_at > coalesce((SELECT max(m.created_at) FROM mute m WHERE m.person_id = p.id), '-infinity')
      ) >= $3
ORDER BY p.id
"""

MUTE = """
WITH muted AS (
    UPDATE person SET muted_until = clock_timestamp() + $3 WHERE id = $1 RETURNING muted_until
)
INSERT INTO mute (person_id, conversation_id, until) SELECT $1, $2, muted_until FROM muted RETURNING id
"""

APPEALING = """
UPDATE mute SET appealed_at = coalesce(appealed_at, clock_timestamp()), appeal_turn_id = coalesce(appeal_turn_id, $2)
WHERE id = (SELECT max(id) FROM mute WHERE person_id = $1 AND lifted_at IS NULL AND until > clock_timestamp())
RETURNING appeal_turn_id = $2
"""


async def read(db: Database, after_id: int, last_id: int) -> list[Written]:
    """The inbound messages with ids after the one up to the other; those without words too."""
    async with db.pool.acquire() as connection:
        rows = await connection.fetch(READ, after_id, last_id)
        said = await opened_parts(db.keys, connection, rows)
    return [
        Written(row["id"], row["person_id"], row["conversation_id"], text_of(parts or ()))
        for row, parts in zip(rows, said, strict=True)
    ]


def by_words(messages: Sequence[Written]) -> list[Flag]:
    """What the word list flags."""
    return [
        Flag(message, label, score, moderation_words.JUDGE)
        for message in messages
        for label, score in moderation_words.judge(message.text).items()
    ]


async def by_model(messages: Sequence[Written], providers: Providers, settings: Settings) -> list[Flag]:
    """What toxic-bert flags, asked once for all; raises ProviderError or ProviderRefused."""
    spoken = [message for message in messages if message.text]
    if not spoken:
        return []
    answer = await providers.client(TOXIC_BERT, settings.toxic_bert_base_url).post_json(
        "/unitary/toxic-bert",
        {
            "inputs": [message.text[:TEXT_CHARS_MAX] for message in spoken],
            "parameters": {"top_k": 6, "function_to_apply": "sigmoid"},
        },
        token=settings.hf_api_token.get_secret_value(),
    )
    return [
        Flag(message, label, score, TOXIC_BERT)
        for message, scores in zip(spoken, scores_of(answer, len(spoken)), strict=True)
        for label, score in scores.items()
        if score >= FLAG_AT
    ]


def scores_of(answer: object, count: int) -> list[dict[str, float]]:
    """The scores of each input, by label; raises ProviderUnavailable for what is no such answer.

    The specification shows a flat list for one input, the service nests one list an input: both are read.
    """
    rows = [answer] if count == 1 and isinstance(answer, list) and answer and isinstance(answer[0], Mapping) else answer
    if isinstance(rows, list) and len(rows) == count and all(isinstance(row, list) for row in rows):
        try:
            return [{str(one["label"]): float(one["score"]) for one in row} for row in rows]
        except (KeyError, TypeError, ValueError):
            pass
    raise ProviderUnavailable(f"{TOXIC_BERT} answered with something other than scores.")


async def record(connection: Any, flags: Sequence[Flag]) -> list[UUID]:
    """Write flags in the caller's transaction, and mute whom they bring to FLAGS_MAX; returns who was muted.

    People's rows are locked first, in id order: of any number of batches at once, one mutes.
    """
    if not flags:
        return []
    best = {(flag.message.message_id, flag.label): flag for flag in sorted(flags, key=lambda flag: flag.score)}
    rooms = {
        flag.message.person_id: flag.message.conversation_id
        for flag in sorted(flags, key=lambda flag: flag.message.message_id)
    }
    people = sorted(rooms)
    await connection.execute("SELECT FROM person WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE", people)
    await connection.execute(
        FLAG,
        [flag.message.message_id for flag in best.values()],
        [flag.label for flag in best.values()],
        [flag.score for flag in best.values()],
        [flag.judge for flag in best.values()],
        [flag.message.person_id for flag in best.values()],
    )
    muted = await connection.fetch(TO_MUTE, people, WITHIN, FLAGS_MAX)
    told = []
    for person in muted:
        mute_id = await connection.fetchval(MUTE, person["id"], rooms[person["id"]], MUTED_FOR)
        text = MUTED["sw" if person["language"] == "sw" else "en"]
        told.append(NewMessage(rooms[person["id"]], (Text(text=text),), "moderation", f"mute:{mute_id}"))
        await connection.execute(
            "INSERT INTO audit (actor, verb, subject, detail) VALUES ('moderation', 'person.muted', $1, $2)",
            f"person:{person['id']}",
            {"mute": mute_id},
        )
    await post(connection, told)
    return [person["id"] for person in muted]


async def appeal(db: Database, person_id: UUID, turn_id: int) -> bool:
    """Bring a muted person's appeal before staff; True in the one turn in which they are told so."""
    return bool(await db.pool.fetchval(APPEALING, person_id, turn_id))
