"""Erasing a person: what happens to each table, and the one transaction after which nothing of them can come back.

`begin` closes the doors, in one transaction: the keys of their own rooms are destroyed, rooms and identities lose their
addresses, and every conversation they were in begins another epoch, so that whatever was under way finds that what it
holds is no longer to be stored (docs/adr/0009). Rows are removed afterwards by `remove`, piece by piece, which may be
cut off anywhere and run again. The person's own row stays, without anything that tells who it was.
"""

# ruff: noqa: S608  Statements are put together from the constants here alone.

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import structlog

from core import crashpoint, mailboxes
from core.crypto import CHANNEL, FORGET
from core.db import Database
from core.errors import Conflict
from core.inbox import address_names
from core.messages import Address, ChannelName, Text
from core.outbox import ERASED, NewMessage, post
from core.wake import Name
from core.window import LAST_WORD, WINDOW, WINDOWED

log = structlog.get_logger()

BATCH = 1_000
"""Rows that one statement removes."""
BATCHES_MAX = 10_000
"""Statements in one go; who has more rows than that is gone on with at the next."""
STATEMENT_S = 60.0
"""Nobody waits for the removal, and some of its statements read a whole table."""
LOCKS_MAX = 5
"""How often the persons to lock are looked up anew because they were linked meanwhile."""
REDELIVERED_FOR = timedelta(days=8)
"""Providers deliver again for up to seven days; so long messages are known by their ids, and addresses by a name."""
LAST_WORD_WITHIN = timedelta(minutes=15)
"""A last word that has not been delivered by then is given up, so that its address can be forgotten."""
SILENT = frozenset({ChannelName.WEB, ChannelName.EMAIL})
"""Channels where no last word is sent: a page is told by its socket, and nobody asks by e-mail."""

SAID: Final = {
    "en": "Everything I knew about you is erased: messages, reminders, contacts, files, your name and this address."
    " What was delivered here before stays on your phone until you delete it there. If you write again, we begin anew.",
    "sw": "Kila nilichojua kukuhusu kimefutwa: ujumbe, vikumbusho, anwani, faili, jina lako na anwani hii. Ulichopokea"
    " hapa awali kinabaki kwenye simu yako mpaka ukifute huko. Ukiandika tena, tutaanza upya.",
}

PEOPLE = "(SELECT id FROM person WHERE erasure_id = $1)"
THEM = "(SELECT i.id FROM identity i JOIN person p ON p.id = i.person_id WHERE p.erasure_id = $1)"
OWN = "(SELECT id FROM conversation WHERE erasure_id = $1)"
SHARED = f"""(SELECT m.conversation_id FROM member m JOIN conversation c ON c.id = m.conversation_id
              WHERE m.identity_id IN {THEM} AND c.erasure_id IS NULL)"""
THEIR_TURNS = f"""(SELECT m.turn_id FROM message m
                   WHERE m.conversation_id IN {SHARED} AND m.identity_id IN {THEM} AND m.turn_id IS NOT NULL)"""
FLOWS = f"(SELECT id FROM workflow_definition WHERE person_id IN {PEOPLE})"
RUNS = f"""(SELECT r.workflow_id FROM workflow_run r JOIN workflow_definition d ON d.id = r.definition_id
            WHERE d.person_id IN {PEOPLE})"""
MAILED = f"""(SELECT 'invitation:' || id FROM room_invitation WHERE identity_id IN {THEM}
              UNION ALL SELECT 'email_code:' || id FROM email_code WHERE person_id IN {PEOPLE}
              UNION ALL SELECT o.dedup_key FROM invoice i
              JOIN outbox o ON o.conversation_id IN (i.mail_to, i.whatsapp_to)
              WHERE i.person_id IN {PEOPLE} AND starts_with(o.dedup_key, 'invoice:' || i.id || ':'))"""


def _tombstones(chosen: str) -> str:
    """A statement that takes the words out of the `chosen` messages m, and lets whoever shows their rooms hear of it.

    `chosen` is what follows WHERE; at most $2 of them at a time.
    """
    return f"""
WITH batch AS (
    SELECT m.id, m.conversation_id FROM message m WHERE m.sealed IS NOT NULL AND {chosen} LIMIT $2
), locked AS MATERIALIZED (
    SELECT id FROM conversation WHERE id IN (SELECT conversation_id FROM batch) ORDER BY id FOR NO KEY UPDATE
), gone AS (
    UPDATE message m SET sealed = NULL, edited_at = NULL, deleted_at = clock_timestamp()
    FROM batch JOIN locked ON locked.id = batch.conversation_id WHERE m.id = batch.id
    RETURNING m.id, m.conversation_id
), numbered AS (
    UPDATE conversation c SET changes = c.changes + g.messages
    FROM (SELECT conversation_id, count(*) AS messages FROM gone GROUP BY conversation_id) g
    WHERE c.id = g.conversation_id
    RETURNING c.id, c.channel, c.account, c.changes - g.messages AS before
)
INSERT INTO change (channel, account, event_id, kind, state, conversation_id, number, message_id, sent_at)
SELECT n.channel, n.account, 'erased:' || g.id, 'delete', 'applied', n.id,
       n.before + row_number() OVER (PARTITION BY n.id ORDER BY g.id), g.id, clock_timestamp()
FROM gone g JOIN numbered n ON n.id = g.conversation_id
"""


REACTIONS = f"""
WITH batch AS (
    SELECT r.message_id, r.identity_id, m.conversation_id FROM reaction r JOIN message m ON m.id = r.message_id
    WHERE r.identity_id IN {THEM} LIMIT $2
), locked AS MATERIALIZED (
    SELECT id FROM conversation WHERE id IN (SELECT conversation_id FROM batch) ORDER BY id FOR NO KEY UPDATE
), gone AS (
    DELETE FROM reaction r USING batch JOIN locked ON locked.id = batch.conversation_id
    WHERE r.message_id = batch.message_id AND r.identity_id = batch.identity_id
    RETURNING r.message_id, batch.conversation_id
), numbered AS (
    UPDATE conversation c SET changes = c.changes + g.reactions
    FROM (SELECT conversation_id, count(*) AS reactions FROM gone GROUP BY conversation_id) g
    WHERE c.id = g.conversation_id AND c.erasure_id IS NULL
    RETURNING c.id, c.channel, c.account, c.changes - g.reactions AS before
)
INSERT INTO change (channel, account, event_id, kind, state, conversation_id, number, message_id, sent_at)
SELECT n.channel, n.account, 'erased:reaction:' || gen_random_uuid(), 'reaction', 'applied', n.id,
       n.before + row_number() OVER (PARTITION BY n.id ORDER BY g.message_id), g.message_id, clock_timestamp()
FROM gone g JOIN numbered n ON n.id = g.conversation_id
"""
"""Takes what they put under messages away, and lets whoever shows the rooms of others hear of it."""


def _removed(table: str, key: str, chosen: str) -> str:
    """A statement that removes at most $2 of the rows that `chosen` (what follows SELECT) names by their `key`."""
    return f"DELETE FROM {table} WHERE {key} IN (SELECT {chosen} LIMIT $2)"


@dataclass(frozen=True, slots=True)
class Fate:
    """What erasing does to a table, in words, and the statements for it in the order of TABLES.

    Each takes the erasure's id as $1 and a number of rows as $2, and is run until it finds nothing more to do.
    `at_last` are run only when REDELIVERED_FOR is over.
    """

    words: str
    statements: tuple[str, ...] = ()
    at_last: tuple[str, ...] = ()


TABLES: Final[Mapping[str, Fate]] = {
    "delivery_status": Fate(
        "removed for what was said to them",
        (
            _removed(
                "delivery_status",
                "outbox_id",
                "d.outbox_id FROM message m JOIN delivery_status d ON d.outbox_id = m.id"
                f" WHERE m.conversation_id IN {OWN} OR m.conversation_id IN {SHARED} AND m.turn_id IN {THEIR_TURNS}",
            ),
        ),
    ),
    "outbox": Fate(
        "removed for their own rooms, what was not sent before anything else; not sent any more in shared ones",
        (
            _removed(
                "outbox", "id", f"o.id FROM message m JOIN outbox o ON o.id = m.id WHERE m.conversation_id IN {OWN}"
            ),
            _removed("outbox", "id", f"id FROM outbox WHERE conversation_id IN {OWN} AND done_at IS NULL"),
        ),
    ),
    "correction": Fate(
        "removed",
        (
            _removed("correction", "id", f"id FROM correction WHERE person_id IN {PEOPLE}"),
            _removed("correction", "id", f"id FROM correction WHERE conversation_id IN {OWN}"),
        ),
    ),
    "turn": Fate(
        "removed for their own rooms; in shared ones nothing of what was understood of them is kept",
        (
            _removed(
                "turn", "id", f"t.id FROM message m JOIN turn t ON t.id = m.turn_id WHERE m.conversation_id IN {OWN}"
            ),
            _removed(
                "turn",
                "id",
                f"id FROM turn WHERE conversation_id IN {OWN} AND state IN ('waiting', 'open', 'held', 'halted')",
            ),
            f"""UPDATE turn SET intent = NULL, slots = NULL WHERE id IN (
                SELECT id FROM turn WHERE id IN {THEIR_TURNS} AND num_nonnulls(intent, slots) > 0 LIMIT $2)""",
        ),
    ),
    "reaction": Fate(
        "removed: theirs everywhere, and everybody's in their own rooms",
        (
            REACTIONS,
            "DELETE FROM reaction WHERE (message_id, identity_id) IN (SELECT r.message_id, r.identity_id"
            f" FROM message m JOIN reaction r ON r.message_id = m.id WHERE m.conversation_id IN {OWN} LIMIT $2)",
        ),
    ),
    "transcription": Fate(
        "removed",
        (
            _removed("transcription", "id", f"id FROM transcription WHERE conversation_id IN {OWN}"),
            _removed(
                "transcription",
                "id",
                f"t.id FROM message m JOIN transcription t USING (conversation_id, seq)"
                f" WHERE m.conversation_id IN {SHARED} AND m.identity_id IN {THEM}",
            ),
        ),
    ),
    "file_fetch": Fate(
        "removed",
        (
            _removed("file_fetch", "id", f"id FROM file_fetch WHERE conversation_id IN {OWN}"),
            _removed(
                "file_fetch",
                "id",
                f"f.id FROM message m JOIN file_fetch f USING (conversation_id, seq)"
                f" WHERE m.conversation_id IN {SHARED} AND m.identity_id IN {THEM}",
            ),
        ),
    ),
    "file": Fate(
        "a tombstone without name or sender; its object is removed from the storage",
        (
            f"""UPDATE file SET state = 'deleted', name = NULL, identity_id = NULL,
                deleted_at = coalesce(deleted_at, clock_timestamp())
            WHERE id IN (SELECT id FROM file WHERE (conversation_id IN {OWN} OR identity_id IN {THEM})
                         AND (state <> 'deleted' OR identity_id IS NOT NULL) LIMIT $2)""",
        ),
    ),
    "message": Fate(
        "removed from their own rooms, but for what a provider may deliver again, which is known by its id for some"
        " days; theirs, and what we said to them, are tombstones in shared rooms",
        (
            "SELECT FROM remove_erased_messages($1, $2, false)",
            f"""UPDATE message SET sealed = NULL, turn_id = NULL, reply_to = NULL, edited_at = NULL,
                deleted_at = coalesce(deleted_at, clock_timestamp())
            WHERE id IN (SELECT id FROM message WHERE conversation_id IN {OWN}
                         AND (sealed IS NOT NULL OR turn_id IS NOT NULL OR reply_to IS NOT NULL) LIMIT $2)""",
            _tombstones(f"m.conversation_id IN {SHARED} AND m.identity_id IN {THEM}"),
            _tombstones(f"m.conversation_id IN {SHARED} AND m.direction = 'out' AND m.turn_id IN {THEIR_TURNS}"),
            _tombstones(f"""m.conversation_id IN {SHARED} AND m.direction = 'out'
                AND (split_part(m.dedup_key, ':', 1) = 'reminder'
                     AND split_part(m.dedup_key, ':', 2) IN (SELECT id::text FROM reminder WHERE person_id IN {PEOPLE})
                     OR split_part(m.dedup_key, ':', 1) = 'workflow'
                     AND EXISTS (SELECT FROM unnest(ARRAY{RUNS}) AS run(id)
                                 WHERE starts_with(m.dedup_key, 'workflow:' || run.id || ':')))"""),
            _tombstones(f"m.id IN (SELECT id FROM outbox WHERE dedup_key IN {MAILED})"),
            f"""UPDATE message SET event_id = 'erased:' || id WHERE id IN (
                SELECT id FROM message WHERE conversation_id IN {SHARED} AND identity_id IN {THEM}
                AND channel = 'web' AND NOT starts_with(event_id, 'erased:') LIMIT $2)""",
            f"""UPDATE outbox SET state = 'refused', template = NULL, error = '{ERASED}', done_at = clock_timestamp(),
                followed_up_at = clock_timestamp()
            WHERE id IN (SELECT o.id FROM message m JOIN outbox o ON o.id = m.id
                         WHERE m.conversation_id IN {SHARED} AND m.sealed IS NULL
                         AND (o.state IN ('pending', 'held') OR o.template IS NOT NULL) LIMIT $2)""",
        ),
        at_last=("SELECT FROM remove_erased_messages($1, $2, true)",),
    ),
    "change": Fate(
        "removed for their own rooms; in shared ones it has no id of theirs any more",
        (
            _removed("change", "id", f"id FROM change WHERE conversation_id IN {OWN}"),
            f"""UPDATE change SET event_id = 'erased:change:' || id WHERE id IN (
                SELECT id FROM change WHERE conversation_id IN {SHARED} AND identity_id IN {THEM}
                AND channel = 'web' AND NOT starts_with(event_id, 'erased:') LIMIT $2)""",
        ),
    ),
    "reminder": Fate("removed", (_removed("reminder", "id", f"id FROM reminder WHERE person_id IN {PEOPLE}"),)),
    "receipt": Fate("removed", (_removed("receipt", "key", f"key FROM receipt WHERE person_id IN {PEOPLE}"),)),
    "data_export": Fate(
        "removed; the archive is a file of theirs",
        (_removed("data_export", "id", f"id FROM data_export WHERE person_id IN {PEOPLE}"),),
    ),
    "person_key": Fate(
        "destroyed at once",
        (_removed("person_key", "person_id", f"person_id FROM person_key WHERE person_id IN {PEOPLE}"),),
    ),
    "credential": Fate("removed", (_removed("credential", "id", f"id FROM credential WHERE person_id IN {PEOPLE}"),)),
    "contact": Fate("removed", (_removed("contact", "id", f"id FROM contact WHERE person_id IN {PEOPLE}"),)),
    "fact": Fate("removed", (_removed("fact", "id", f"id FROM fact WHERE person_id IN {PEOPLE}"),)),
    "summary": Fate(
        "removed",
        (
            _removed("summary", "conversation_id", f"conversation_id FROM summary WHERE person_id IN {PEOPLE}"),
            _removed("summary", "conversation_id", f"conversation_id FROM summary WHERE conversation_id IN {OWN}"),
        ),
    ),
    "email_code": Fate("removed", (_removed("email_code", "id", f"id FROM email_code WHERE person_id IN {PEOPLE}"),)),
    "link_code": Fate("removed", (_removed("link_code", "id", f"id FROM link_code WHERE identity_id IN {THEM}"),)),
    "link_try": Fate("removed", (_removed("link_try", "key", f"key FROM link_try WHERE identity_id IN {THEM}"),)),
    "account_link": Fate(
        "removed", (_removed("account_link", "id", f"id FROM account_link WHERE person_id IN {PEOPLE}"),)
    ),
    "mandate_use": Fate(
        "removed; what was paid is in the books",
        (
            _removed(
                "mandate_use",
                "key",
                f"u.key FROM mandate_use u JOIN mandate m ON m.id = u.mandate_id WHERE m.definition_id IN {FLOWS}",
            ),
        ),
    ),
    "mandate": Fate(
        "ended at once, with its workflow; removed",
        (_removed("mandate", "id", f"id FROM mandate WHERE definition_id IN {FLOWS}"),),
    ),
    "confirmation": Fate(
        "removed", (_removed("confirmation", "id", f"id FROM confirmation WHERE person_id IN {PEOPLE}"),)
    ),
    "token_use": Fate(
        "removed", (_removed("token_use", "person_id", f"person_id FROM token_use WHERE person_id IN {PEOPLE}"),)
    ),
    "renumbering": Fate("removed at once, with their numbers"),
    "opt_out": Fate(
        "removed", (_removed("opt_out", "identity_id", f"identity_id FROM opt_out WHERE identity_id IN {THEM}"),)
    ),
    "mute": Fate("removed", (_removed("mute", "id", f"id FROM mute WHERE person_id IN {PEOPLE}"),)),
    "moderation_flag": Fate(
        "removed",
        (
            "DELETE FROM moderation_flag WHERE (message_id, label) IN (SELECT message_id, label FROM moderation_flag"
            f" WHERE person_id IN {PEOPLE} LIMIT $2)",
        ),
    ),
    "note": Fate(
        "removed for their own rooms", (_removed("note", "id", f"id FROM note WHERE conversation_id IN {OWN}"),)
    ),
    "room_invitation": Fate(
        "ended, and no address is kept: neither whom they invited nor where they were",
        (
            f"""UPDATE room_invitation SET address = NULL, ended_at = coalesce(ended_at, clock_timestamp())
            WHERE id IN (SELECT id FROM room_invitation WHERE identity_id IN {THEM}
                         AND (address IS NOT NULL OR ended_at IS NULL) LIMIT $2)""",
        ),
    ),
    "member": Fate(
        "removed from their own rooms; in shared ones somebody without a name who has left",
        (
            "DELETE FROM member WHERE (conversation_id, identity_id) IN (SELECT conversation_id, identity_id"
            f" FROM member WHERE conversation_id IN {OWN} LIMIT $2)",
            f"""UPDATE member SET name = NULL, role = 'member', left_at = coalesce(left_at, clock_timestamp())
            WHERE (conversation_id, identity_id) IN (
                SELECT conversation_id, identity_id FROM member
                WHERE identity_id IN {THEM} AND (name IS NOT NULL OR left_at IS NULL) LIMIT $2)""",
        ),
    ),
    "workflow_definition": Fate(
        "emptied and ended at once; removed with its runs and their steps when Temporal has forgotten them",
        (
            f"""UPDATE workflow_definition SET state = 'deleted', name = NULL, name_index = NULL, spec = NULL
            WHERE id IN (SELECT id FROM workflow_definition WHERE person_id IN {PEOPLE}
                         AND (state <> 'deleted' OR num_nonnulls(name, name_index, spec) > 0) LIMIT $2)""",
        ),
    ),
    "workflow_run": Fate(
        "emptied; removed with its definition",
        (
            f"""UPDATE workflow_run SET state = CASE WHEN finished_at IS NULL THEN 'failed' ELSE state END,
                finished_at = coalesce(finished_at, clock_timestamp()), trigger = NULL, outcome = NULL,
                waiting_for = NULL
            WHERE workflow_id IN (SELECT workflow_id FROM workflow_run WHERE workflow_id IN {RUNS}
                                  AND (num_nonnulls(trigger, outcome) > 0 OR finished_at IS NULL) LIMIT $2)""",
        ),
    ),
    "workflow_step": Fate(
        "emptied; removed with its run",
        (
            f"""UPDATE workflow_step SET result = NULL
            WHERE (workflow_id, step_id) IN (SELECT workflow_id, step_id FROM workflow_step WHERE workflow_id IN {RUNS}
                                             AND result IS NOT NULL LIMIT $2)""",
        ),
    ),
    "erased_address": Fate(
        "made by it, for some days: names from which nobody without our keys can tell an address",
        at_last=(_removed("erased_address", "name", "name FROM erased_address WHERE erasure_id = $1"),),
    ),
    "mailbox": Fate("removed at once, but for an address that others gave or were given too"),
    "person": Fate("stays as a pseudonym, which a ledger can point to: no name, language, zone or mute"),
    "identity": Fate("stays, without address or name, for what still points to it"),
    "conversation": Fate("their own stay without address, title and key, so that nothing can be stored in them"),
    "room_key": Fate("destroyed for their own rooms; the row stays, without the key"),
    "web_visitor": Fate("removed"),
    "site_user": Fate("removed"),
    "audit": Fate("stays: it holds ids, which name nobody any more"),
    "erasure": Fate("stays: that somebody was erased, and who asked for it"),
    "moderation_batch": Fate("of nobody"),
    "purpose_key": Fate("of nobody"),
    "template": Fate("of nobody"),
    "canned_reply": Fate("of nobody"),
    "site": Fate("of nobody"),
    "site_secret": Fate("of nobody"),
    "staff_session": Fate("of nobody"),
    "adjustment": Fate("of nobody: accounts, amounts and why, by staff"),
    "fee_schedule": Fate("of nobody"),
    "payment_switch": Fate("of nobody"),
    "account": Fate("kept, as books have to be: its owner is an opaque key that nothing else knows any more"),
    "journal_entry": Fate("kept, as books have to be: no word of anybody's is in it"),
    "posting": Fate("kept, as books have to be"),
    "hold": Fate("kept, as books have to be"),
    "refused_entry": Fate("kept: its key has its answer for ever"),
    "payment_instruction": Fate(
        "kept, as books have to be, without whom it paid or asked; what had not begun is not begun any more",
        (
            f"""UPDATE payment_instruction SET payee = NULL
            WHERE id IN (SELECT id FROM payment_instruction WHERE person_id IN {PEOPLE} AND payee IS NOT NULL LIMIT $2)
            """,
        ),
    ),
    "settled_line": Fate("kept, as books have to be: ids of the provider's"),
    "reconciliation_run": Fate("of nobody"),
    "reconciliation_finding": Fate("kept, as books have to be: ids and amounts"),
    "payment_event": Fate("kept, as books have to be: codes and amounts"),
    "dispute": Fate(
        "kept, as books have to be: amounts, and who of the staff decided, without what whoever paid said about it",
        (
            f"""UPDATE dispute SET words = NULL
            WHERE id IN (SELECT id FROM dispute WHERE said_by IN {PEOPLE} AND words IS NOT NULL LIMIT $2)
            """,
        ),
    ),
    "dispute_event": Fate("kept, as books have to be: amounts, and why"),
    "payment_hint": Fate("kept: ids of the provider's"),
    "invoice": Fate(
        "kept, as books have to be: number, amounts and dates, without what for and who is to pay; nobody can pay it",
        (
            f"""UPDATE invoice SET sealed = NULL, token_hash = NULL, due_at = NULL
            WHERE id IN (SELECT id FROM invoice WHERE person_id IN {PEOPLE}
                         AND num_nonnulls(sealed, token_hash) > 0 LIMIT $2)
            """,
        ),
    ),
    "invoice_series": Fate(
        "ended and emptied",
        (
            f"""UPDATE invoice_series SET sealed = NULL, due_at = NULL, ended_at = coalesce(ended_at, clock_timestamp())
            WHERE id IN (SELECT id FROM invoice_series WHERE person_id IN {PEOPLE}
                         AND (sealed IS NOT NULL OR ended_at IS NULL) LIMIT $2)
            """,
        ),
    ),
    "invoice_payment": Fate("kept, as books have to be: amounts"),
    "invoice_mark": Fate("kept, as books have to be: amounts, and how they were paid"),
    "invoice_resend": Fate("kept: when an invoice was sent again"),
    "invoice_counter": Fate("of nobody"),
}
"""Every table, in the order in which it is taken care of: what finds other rows goes after them."""

LOCK = "SELECT id, merged_into, erasure_id FROM person WHERE id = $1 OR merged_into = $1 ORDER BY id FOR UPDATE"
CURRENT = "SELECT coalesce(merged_into, id) FROM person WHERE id = $1"
EVERYBODY = f"SELECT id FROM person WHERE id = ({CURRENT}) OR merged_into = ({CURRENT})"
NEW = """
INSERT INTO erasure (person_id, asked_by, channel, account, room, language) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id
"""
PSEUDONYM = """
UPDATE person SET erasure_id = $1, name = NULL, name_index = NULL, language = 'en', language_chosen = false,
       timezone = NULL, zone_guess = NULL, zone_asked_at = NULL, currency = NULL,
       muted_until = NULL, plan = 'free', reminded_at = '{}', deferral_told_at = NULL,
       payment_limit = NULL, day_limit = NULL,
       pin_hash = NULL, pin_set_at = NULL, pin_tries = 0, pin_locked_until = NULL, pin_reset_at = NULL
WHERE id = ANY($2::uuid[])
"""
STOP_REMINDERS = "UPDATE reminder SET state = 'cancelled' WHERE person_id = ANY($1::uuid[]) AND state = 'active'"
END_LINK_CODES = "DELETE FROM link_code WHERE identity_id = ANY($1::uuid[])"
END_EMAIL_CODES = """
UPDATE email_code SET ended_at = clock_timestamp() WHERE person_id = ANY($1::uuid[]) AND ended_at IS NULL
"""
IDENTITIES = "SELECT id, channel, account, provider_id FROM identity WHERE person_id = ANY($1::uuid[]) ORDER BY id"
OWN_ROOMS = """
SELECT c.id FROM identity i
CROSS JOIN LATERAL (SELECT id FROM conversation c
                    WHERE (c.channel, c.account, c.room) = (i.channel, i.account, i.provider_id) OFFSET 0) c
WHERE i.person_id = ANY($1::uuid[])
UNION
SELECT c.id
FROM (SELECT address FROM email_code WHERE person_id = ANY($1::uuid[])
      UNION SELECT v.address FROM identity i JOIN room_invitation v ON v.identity_id = i.id
      WHERE i.person_id = ANY($1::uuid[]) AND v.address IS NOT NULL) mailed
JOIN conversation c ON c.channel = 'email' AND c.room = mailed.address
WHERE NOT EXISTS (SELECT FROM identity o WHERE o.channel = 'email' AND o.provider_id = c.room
                  AND o.person_id <> ALL($1::uuid[]))
  AND NOT EXISTS (SELECT FROM email_code e WHERE e.address = c.room AND e.person_id <> ALL($1::uuid[]))
  AND NOT EXISTS (SELECT FROM room_invitation v JOIN identity i ON i.id = v.identity_id
                  WHERE v.address = c.room AND i.person_id <> ALL($1::uuid[]))
  AND NOT EXISTS (SELECT FROM invoice x WHERE x.mail_to = c.id AND x.person_id <> ALL($1::uuid[]))
UNION
SELECT c.id
FROM (SELECT mail_to, whatsapp_to FROM invoice WHERE person_id = ANY($1::uuid[])
      UNION SELECT mail_to, whatsapp_to FROM invoice_series WHERE person_id = ANY($1::uuid[])) billed
JOIN conversation c ON c.id IN (billed.mail_to, billed.whatsapp_to)
WHERE NOT EXISTS (SELECT FROM identity o WHERE (o.channel, o.account, o.provider_id) = (c.channel, c.account, c.room)
                  AND o.person_id <> ALL($1::uuid[]))
  AND NOT EXISTS (SELECT FROM invoice x WHERE c.id IN (x.mail_to, x.whatsapp_to) AND x.person_id <> ALL($1::uuid[]))
  AND NOT EXISTS (SELECT FROM invoice_series x
                  WHERE c.id IN (x.mail_to, x.whatsapp_to) AND x.person_id <> ALL($1::uuid[]))
  AND NOT (c.channel = 'email' AND (
      EXISTS (SELECT FROM email_code e WHERE e.address = c.room AND e.person_id <> ALL($1::uuid[]))
      OR EXISTS (SELECT FROM room_invitation v JOIN identity i ON i.id = v.identity_id
                 WHERE v.address = c.room AND i.person_id <> ALL($1::uuid[]))))
"""
"""One-to-one rooms, and those of strangers who were written to for them alone."""
SHARED_ROOMS = "SELECT DISTINCT conversation_id FROM member WHERE identity_id = ANY($1::uuid[])"
LOCK_ROOMS = "SELECT id FROM conversation WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE"
LAST_HEARD = """
SELECT max(m.created_at) > clock_timestamp() - $5::interval
       AND NOT EXISTS (SELECT FROM opt_out x WHERE x.identity_id = ANY($4::uuid[]) AND x.ended_at IS NULL)
FROM conversation c JOIN message m ON m.conversation_id = c.id AND m.direction = 'in'
WHERE (c.channel, c.account, c.room) = ($1, $2, $3)
"""
NOT_SENT = """
DELETE FROM outbox WHERE conversation_id = ANY($1::uuid[]) AND (done_at IS NULL OR state = 'held')
"""
NOT_ANSWERED = """
DELETE FROM turn WHERE conversation_id = ANY($1::uuid[]) AND state IN ('waiting', 'open', 'held', 'halted')
"""
DESTROY = """
UPDATE room_key SET wrapped = NULL, kek = NULL, destroyed_at = clock_timestamp()
WHERE conversation_id = ANY($1::uuid[]) AND destroyed_at IS NULL
"""
CLOSE = """
UPDATE conversation SET erasure_id = $1, epoch = 0, room = 'erased:' || id, title = NULL, mode = 'bot', holder = NULL,
       held_until = NULL, unreachable_at = NULL
WHERE id = ANY($2::uuid[])
"""
FORGOTTEN = "SELECT pg_notify($1, $2 || id) FROM unnest($3::text[]) AS g(id)"
UNANSWERED = """
UPDATE message m SET sealed = NULL, edited_at = NULL, deleted_at = clock_timestamp()
FROM turn t
WHERE t.conversation_id = ANY($1::uuid[]) AND t.state IN ('waiting', 'open', 'held', 'halted')
  AND m.conversation_id = t.conversation_id AND m.turn_id = t.id AND m.identity_id = ANY($2::uuid[])
RETURNING t.id
"""
ANSWER_AGAIN = """
UPDATE turn SET attempt = attempt + 1, lease_until = clock_timestamp() - interval '1 ms'
WHERE id = ANY($1::bigint[]) AND state = 'open'
"""
LEAVE = """
UPDATE member SET name = NULL, role = 'member', left_at = coalesce(left_at, clock_timestamp())
WHERE conversation_id = ANY($1::uuid[]) AND identity_id = ANY($2::uuid[])
"""
HEIRS = """
UPDATE member m SET role = 'owner'
FROM (SELECT DISTINCT ON (o.conversation_id) o.conversation_id, o.identity_id
      FROM member o JOIN conversation c ON c.id = o.conversation_id AND c.title IS NOT NULL
      WHERE o.conversation_id = ANY($1::uuid[]) AND o.left_at IS NULL
        AND NOT EXISTS (SELECT FROM member w WHERE w.conversation_id = o.conversation_id AND w.role = 'owner'
                        AND w.left_at IS NULL)
      ORDER BY o.conversation_id, o.joined_at, o.identity_id) heir
WHERE m.conversation_id = heir.conversation_id AND m.identity_id = heir.identity_id
"""
VISITORS = """
WITH theirs AS (
    DELETE FROM site_user WHERE visitor_id = ANY($1::uuid[]) RETURNING site, user_id
)
DELETE FROM web_visitor v
WHERE v.id = ANY($1::uuid[])
   OR EXISTS (SELECT FROM theirs t WHERE t.site = v.site AND t.user_id = v.user_id)
"""
INVITED = "UPDATE room_invitation SET address = NULL WHERE address = ANY($1::text[])"
SAME_NUMBERS = """
DELETE FROM renumbering r USING identity i
WHERE i.id = ANY($1::uuid[]) AND (r.channel, r.account) = (i.channel, i.account)
  AND (r.provider_id = i.provider_id
       OR NOT EXISTS (SELECT FROM identity k
                      WHERE (k.channel, k.account, k.provider_id) = (r.channel, r.account, r.provider_id))
          AND r.event_id IN (SELECT o.event_id FROM renumbering o WHERE (o.channel, o.account, o.provider_id)
                                                                     = (i.channel, i.account, i.provider_id)))
"""
"""And the new numbers they were said to have, where nobody wrote from those."""
NAMELESS = """
UPDATE identity SET provider_id = 'erased:' || id, display_name = NULL, name_index = NULL, verified_at = NULL,
       conversation_id = NULL, provider_user_id = NULL
WHERE id = ANY($1::uuid[])
"""
REMEMBER = """
INSERT INTO erased_address (name, erasure_id, at)
SELECT name, $2, clock_timestamp() FROM unnest($1::text[]) AS g(name)
"""
END_WORKFLOWS = (
    "UPDATE workflow_definition SET state = 'deleted' WHERE person_id = ANY($1::uuid[]) AND state <> 'deleted'"
)
AUDIT = "INSERT INTO audit (actor, verb, subject, detail) VALUES ($1, 'person.erased', $2, $3)"
Before = Callable[[Any, Sequence[UUID]], Awaitable[None]]
"""Looks at somebody who is locked and about to be erased, at all the persons they are, and may raise."""
WOKEN: tuple[Name, ...] = ("erasure", "workflow", "room", "message", "turn", "outbox")

OPEN_ROOM = """
INSERT INTO conversation AS c (id, channel, account, room) VALUES ($1, $2, $3, $4)
ON CONFLICT (channel, account, room) DO UPDATE SET room = c.room
RETURNING id
"""
OVER = """
SELECT e.channel, e.account, e.room,
       coalesce((SELECT o.done_at IS NOT NULL FROM outbox o WHERE o.dedup_key = 'erasure:' || e.id), true)
       OR e.erased_at < clock_timestamp() - $2::interval AS over
FROM erasure e WHERE e.id = $1
"""
LAST_ROOM = """
SELECT id FROM conversation WHERE (channel, account, room) = ($1, $2, $3) FOR UPDATE
"""
INHABITED = "SELECT EXISTS (SELECT FROM member WHERE conversation_id = $1)"
PLACES = f"""
SELECT DISTINCT m.conversation_id, p.id FROM identity i
JOIN member m ON m.identity_id = i.id
CROSS JOIN {PEOPLE} p
WHERE i.person_id IN {PEOPLE}
UNION SELECT c.id, p.id FROM conversation c CROSS JOIN {PEOPLE} p WHERE c.erasure_id = $1
"""


async def begin(
    db: Database, person_id: UUID, *, asked_by: str, last_word_to: Address | None, language: str = "en",
    before: Before | None = None,
) -> int:  # fmt: skip
    """Erase who this person is now, with everybody who was linked to them; the erasure's id.

    When this returns, nothing of them can be read, stored, answered or sent; the rows go soon. Of any number of calls
    one has an effect. `last_word_to` is told when that is done, where its provider lets us. Raises Conflict, and what
    `before` raises, which has then changed nothing.
    """
    async with db.hot() as connection:
        current, people = await _lock(connection, person_id)
        if (begun := people[current]) is not None:
            return begun
        everyone = list(people)
        if before is not None:
            await before(connection, everyone)
        identities = await connection.fetch(IDENTITIES, everyone)
        them = [row["id"] for row in identities]
        to = await _reachable(connection, last_word_to, them)
        erasure_id: int = await connection.fetchval(
            NEW, current, asked_by, *((to.channel.value, to.account, to.room) if to else (None, None, None)), language
        )
        # Before rooms are looked up and locked, as whoever mails a code or an invitation does it.
        mailed = await mailboxes.hold_of(connection, everyone)
        own = [row["id"] for row in await connection.fetch(OWN_ROOMS, everyone)]
        shared = [row[0] for row in await connection.fetch(SHARED_ROOMS, them) if row[0] not in set(own)]
        await connection.execute(PSEUDONYM, erasure_id, everyone)
        await db.keys.destroy_of_persons(connection, everyone)
        # Before rooms are locked, as whoever puts out reminders or a workflow's words does it.
        await connection.execute(STOP_REMINDERS, everyone)
        await connection.execute(END_WORKFLOWS, everyone)
        await connection.execute(END_LINK_CODES, them)
        await connection.execute(END_EMAIL_CODES, everyone)
        await connection.fetch(LOCK_ROOMS, [*own, *shared])
        await _close_own(connection, erasure_id, own)
        await _leave_shared(connection, shared, them)
        await connection.execute(VISITORS, _visitors(identities))
        theirs = [row["provider_id"] for row in identities if row["channel"] == ChannelName.EMAIL]
        mails = [name.partition(mailboxes.VARIANT)[0] for name in theirs]
        await connection.execute(INVITED, mails)
        names = [address_names(db.keys, row["channel"], row["account"], row["provider_id"])[0] for row in identities]
        await connection.execute(REMEMBER, names, erasure_id)
        await connection.execute(SAME_NUMBERS, them)
        await connection.execute(NAMELESS, them)
        await mailboxes.forget(connection, mailed, everyone)
        await connection.execute(AUDIT, asked_by, f"person:{current}", {"erasure": erasure_id})
        await connection.execute("SELECT pg_notify($1, name) FROM unnest($2::text[]) AS g(name)", CHANNEL, list(WOKEN))
        crashpoint.hit("erasure.before_commit")
    for room in (*own, *shared):
        db.keys.forget(room)
    crashpoint.hit("erasure.committed")
    log.info("erasure.begun", erasure_id=erasure_id, rooms=len(own), shared=len(shared), identities=len(them))
    return erasure_id


async def persons(connection: Any, person_id: UUID) -> list[UUID]:
    """Who this person is now, and everybody who was linked to them."""
    return [row["id"] for row in await connection.fetch(EVERYBODY, person_id)]


async def _lock(connection: Any, person_id: UUID) -> tuple[UUID, dict[UUID, int | None]]:
    """Who this person is now, and all the persons they are, locked in id order, with what erased each."""
    for _ in range(LOCKS_MAX):
        # Locks taken for nothing are let go of, so that the next ones are in order again.
        attempt = connection.transaction()
        await attempt.start()
        current = await connection.fetchval(CURRENT, person_id)
        rows = await connection.fetch(LOCK, current)
        found = {row["id"]: row["erasure_id"] for row in rows}
        if current in found and all(row["merged_into"] in (None, current) for row in rows):
            again = await connection.fetch(LOCK, current)
            if {row["id"] for row in again} == set(found) and found and _is_whole(again, current):
                await attempt.commit()
                return current, found
        await attempt.rollback()
        if current is None:
            raise LookupError("There is no such person.")
    raise Conflict("This account is being linked by somebody else. Try again.")


def _is_whole(rows: Sequence[Any], current: UUID) -> bool:
    return next(row["merged_into"] for row in rows if row["id"] == current) is None


async def _reachable(connection: Any, to: Address | None, them: Sequence[UUID]) -> Address | None:
    """Where the last word may go; None where it is not wanted, or the provider would not let it through."""
    if to is None or not to.is_private or to.channel in SILENT:
        return None
    if to.channel in WINDOWED:
        place = to.channel.value, to.account, to.room
        if not await connection.fetchval(LAST_HEARD, *place, list(them), WINDOW - LAST_WORD_WITHIN):
            return None
    return to


async def _close_own(connection: Any, erasure_id: int, own: Sequence[UUID]) -> None:
    """Nothing in these rooms can be read, stored or sent from now on."""
    await connection.execute(NOT_ANSWERED, own)
    await connection.execute(NOT_SENT, own)
    await connection.execute(DESTROY, own)
    await connection.execute(CLOSE, erasure_id, own)
    await connection.execute(FORGOTTEN, CHANNEL, FORGET, [str(one) for one in own])


async def _leave_shared(connection: Any, shared: Sequence[UUID], them: Sequence[UUID]) -> None:
    """They are in these rooms no more; whoever was storing or answering something of theirs starts over."""
    rows = await connection.fetch(UNANSWERED, shared, them)
    await connection.execute(ANSWER_AGAIN, list({row["id"] for row in rows}))
    await connection.execute(LEAVE, shared, them)
    await connection.execute(HEIRS, shared)
    for room in sorted(shared):
        await connection.keys.start_epoch(connection, room)


def _visitors(identities: Sequence[Any]) -> list[UUID]:
    found = []
    for row in identities:
        if row["channel"] == ChannelName.WEB:
            try:
                found.append(UUID(row["provider_id"]))
            except ValueError:
                continue
    return found


async def remove(db: Database, erasure_id: int, *, at_last: bool = False) -> None:
    """Remove the rows of an erasure, a batch in a transaction; stopped anywhere, it goes on where it was.

    `at_last` removes too by what their providers' late deliveries were known.
    """
    for fate in TABLES.values():
        for statement in (*fate.statements, *(fate.at_last if at_last else ())):
            for _ in range(BATCHES_MAX):
                async with db.hot() as connection:
                    await connection.execute(
                        f"SET LOCAL statement_timeout = '{STATEMENT_S:.0f}s'; SET LOCAL enable_seqscan = on;"
                        " SET LOCAL enable_hashjoin = on; SET LOCAL enable_bitmapscan = on;"
                        " SET LOCAL plan_cache_mode = force_custom_plan"
                    )
                    done: str = await connection.execute(statement, erasure_id, BATCH, timeout=STATEMENT_S)
                count = int(done.rpartition(" ")[2])
                if count:
                    crashpoint.hit("erasure.removed")
                if count < BATCH:
                    break


async def places(connection: Any, erasure_id: int) -> list[tuple[UUID, UUID]]:
    """Every conversation an erased person was in, with each of the persons they were: what dialogs are kept by."""
    return [(row[0], row[1]) for row in await connection.fetch(PLACES, erasure_id)]


async def say_last_word(connection: Any, erasure_id: int) -> bool:
    """Put the last word into the outbox, at an address that begins anew; False where there is none to say."""
    row = await connection.fetchrow("SELECT channel, account, room, language FROM erasure WHERE id = $1", erasure_id)
    if row["room"] is None:
        return False
    room = await connection.fetchval(OPEN_ROOM, uuid4(), row["channel"], row["account"], row["room"])
    text = SAID["sw" if row["language"] == "sw" else "en"]
    await post(connection, [NewMessage(room, (Text(text=text),), LAST_WORD, f"erasure:{erasure_id}")])
    return True


async def forget_address(connection: Any, erasure_id: int) -> bool:
    """Forget where the last word went, once it is delivered or given up; False while it is on its way.

    The room it went to is erased like the others, unless somebody has begun to write there.
    """
    row = await connection.fetchrow(OVER, erasure_id, LAST_WORD_WITHIN)
    if not row["over"]:
        return False
    if row["room"] is not None:
        room = await connection.fetchval(LAST_ROOM, row["channel"], row["account"], row["room"])
        if room is not None and not await connection.fetchval(INHABITED, room):
            await _close_own(connection, erasure_id, [room])
    return True
