"""What is read before somebody is erased: what goes, counted, and what stays and why. Code says it, no brain."""

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.db import Database
from core.language import Plural, Saying
from core.people import current

COUNTS = text("""
WITH me AS (SELECT id FROM person WHERE id = :person OR merged_into = :person),
chats AS (SELECT i.id, i.channel, c.next_seq FROM identity i
          LEFT JOIN conversation c ON (c.channel, c.account, c.room) = (i.channel, i.account, i.provider_id)
          WHERE i.person_id IN (SELECT id FROM me))
SELECT (SELECT count(*) FROM chats WHERE channel <> 'email') AS chats,
       (SELECT coalesce(sum(next_seq - 1), 0)::bigint FROM chats) AS messages,
       (SELECT count(*) FROM reminder WHERE person_id IN (SELECT id FROM me) AND state = 'active') AS reminders,
       (SELECT count(*) FROM contact
        WHERE person_id IN (SELECT id FROM me) AND ended_at IS NULL) AS contacts,
       (SELECT count(*) FROM file WHERE identity_id IN (SELECT id FROM chats) AND state = 'kept') AS files,
       (SELECT count(*) FROM workflow_definition
        WHERE person_id IN (SELECT id FROM me) AND state <> 'deleted') AS workflows,
       (SELECT count(*) FROM invoice WHERE person_id IN (SELECT id FROM me)
          AND state IN ('draft', 'sent', 'part_paid', 'overdue', 'disputed')) AS invoices,
       (SELECT count(DISTINCT m.conversation_id) FROM member m JOIN conversation c ON c.id = m.conversation_id
        WHERE m.identity_id IN (SELECT id FROM chats)
          AND NOT EXISTS (SELECT FROM identity o WHERE o.id IN (SELECT id FROM chats)
                          AND (o.channel, o.account, o.provider_id) = (c.channel, c.account, c.room))) AS rooms
""")

SHOWN = {
    "staff": "This erases what is known about this person, for good, in every chat that is linked to them:\n"
    "• {counted}\n• their name, language, time zone, e-mail address and numbers\n{rooms}"
    "What is still to be sent is not sent. Nobody can bring any of it back.\n\n"
    "What remains: that somebody was erased, and by whom, under a number that tells nobody who it was; what was already"
    " delivered to their phone; and backups, until they are overwritten.",
    "en": "This erases what I know about you, for good, in every chat that is linked to you:\n"
    "• {counted}\n• your name, language, time zone, e-mail address and numbers\n{rooms}"
    "What is still to be sent is not sent. Nobody can bring any of it back.\n\n"
    "What remains: that somebody was erased, under a number that tells nobody who; and what was already delivered to"
    " your phone, which you can delete only there.",
    "sw": "Hii inafuta ninachojua kukuhusu, moja kwa moja, kwenye kila gumzo lililounganishwa nawe:\n"
    "• {counted}\n• jina lako, lugha, saa za eneo, barua pepe na namba\n{rooms}"
    "Kilichosubiri kutumwa hakitatumwa. Hakuna atakayeweza kukirudisha.\n\n"
    "Kinachobaki: kwamba mtu fulani alifutwa, kwa nambari isiyomtaja mtu; na kilichokwishafika kwenye simu yako,"
    " ambacho unaweza kukifuta huko tu.",
}
ROOMS = {
    "staff": "• what they wrote in {count} that they share with others; what the others wrote stays\n",
    "en": "• what you wrote in {count} that you share with others; what they wrote stays\n",
    "sw": "• ulichoandika kwenye {count} ulichoshiriki na wengine; walichoandika wao kinabaki\n",
}
WORDS = {
    "chats": Plural(Saying("{count} chat", "gumzo {count}"), Saying("{count} chats", "magumzo {count}")),
    "messages": Plural(Saying("{count} message", "ujumbe {count}"), Saying("{count} messages", "jumbe {count}")),
    "reminders": Plural(
        Saying("{count} reminder", "kikumbusho {count}"), Saying("{count} reminders", "vikumbusho {count}")
    ),
    "contacts": Plural(Saying("{count} contact", "anwani {count}"), Saying("{count} contacts", "anwani {count}")),
    "files": Plural(Saying("{count} file", "faili {count}"), Saying("{count} files", "faili {count}")),
    "workflows": Plural(Saying("{count} workflow", "mpango {count}"), Saying("{count} workflows", "mipango {count}")),
    "invoices": Plural(
        Saying("{count} open invoice, which nobody can pay any more", "ankara {count} ambayo haitaweza kulipwa tena"),
        Saying("{count} open invoices, which nobody can pay any more", "ankara {count} ambazo haziwezi kulipwa tena"),
    ),
    "rooms": Plural(Saying("{count} room", "chumba {count}"), Saying("{count} rooms", "vyumba {count}")),
}


async def counts(session: AsyncSession, person_id: UUID) -> Mapping[str, int]:
    """How much there is of a person: `chats`, `messages` and the other names of WORDS."""
    person = await session.scalar(select(current(person_id)))
    return dict((await session.execute(COUNTS, {"person": person})).mappings().one())


async def shown(db: Database, person_id: UUID, language: str) -> str:
    """What erasing this person takes away, and what stays and why: what is read before it is confirmed.

    In the person's `language`, or of them in English for "staff".
    """
    async with db.transaction() as session:
        found = await counts(session, person_id)
    told = language if language in SHOWN else "en"
    words = {name: text.of(found[name]).to(language) for name, text in WORDS.items()}
    counted = ", ".join(words[name] for name in words if found[name] and name != "rooms")
    rooms = ROOMS[told].format(count=words["rooms"]) if found["rooms"] else ""
    return SHOWN[told].format(counted=counted, rooms=rooms)
