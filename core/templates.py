"""Our WhatsApp templates: their texts, and the rows that say how each account's stand with WhatsApp.

A text that changes gets a new VERSION, hence a new name at the provider: what was approved cannot be edited there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.db import Database
from core.messages import ChannelName
from core.window import Approved

VERSION = 1
STATES = ("unsubmitted", "received", "pending", "approved", "rejected", "paused", "disabled")
OPEN_STATES = ("received", "pending", "paused")
"""States that change without us, and are asked after."""


@dataclass(frozen=True, slots=True)
class NewTemplate:
    """One template as we wrote it. `variables` are examples by number, which WhatsApp's reviewers read."""

    name: str
    language: str
    category: str
    body: str
    variables: Mapping[str, str]

    @property
    def provider_name(self) -> str:
        """What it is called at the provider: small letters, digits and underscores, as WhatsApp wants it."""
        return f"mathia_{self.name}_{self.language}_{VERSION}"


OURS = (
    NewTemplate(
        "reminder",
        "en",
        "UTILITY",
        "Hello, this is the reminder you asked for: {{1}}\nReply to this message to talk to me.",
        {"1": "Call Asha about the invoice"},
    ),
    NewTemplate(
        "reminder",
        "sw",
        "UTILITY",
        "Habari, hiki ndicho ulichoomba nikukumbushe: {{1}}\nJibu ujumbe huu ili tuongee.",
        {"1": "Mpigie Asha kuhusu ankara"},
    ),
    NewTemplate(
        "invoice",
        "en",
        "UTILITY",
        "Hello, this is about an invoice for you: {{1}}\nReply to this message if you have a question.",
        {
            "1": "Asha Designs sends you invoice INV-2026-00007. KES 5,000.00 for the logo. Pay it here: https://chat.example"
        },
    ),
    NewTemplate(
        "invoice",
        "sw",
        "UTILITY",
        "Habari, hii ni kuhusu ankara yako: {{1}}\nJibu ujumbe huu ukiwa na swali.",
        {"1": "Asha Designs amekutumia ankara INV-2026-00007. KES 5,000.00 ya nembo. Lipa hapa: https://chat.example"},
    ),
    NewTemplate(
        "notice", "en", "UTILITY", "Hello, there is a message for you here. Reply to this one and you will get it.", {}
    ),
    NewTemplate("notice", "sw", "UTILITY", "Habari, kuna ujumbe wako hapa. Jibu huu nawe utaupata.", {}),
)


@dataclass(frozen=True, slots=True)
class Row:
    """How one of our templates stands on one account."""

    name: str
    language: str
    provider_ref: str | None
    state: str
    reason: str | None
    checked_at: datetime | None


async def rows(db: Database, channel: ChannelName, account: str) -> list[Row]:
    """The account's templates, by name and language."""
    found = await db.pool.fetch(
        "SELECT name, language, provider_ref, state, reason, checked_at FROM template"
        " WHERE channel = $1 AND account = $2 ORDER BY name, language",
        channel.value,
        account,
    )
    return [Row(**row) for row in found]


async def approved(connection: Any, channel: ChannelName, account: str) -> Sequence[Approved]:
    """The account's approved templates; `connection` may be a pool."""
    found = await connection.fetch(
        "SELECT name, language, provider_ref, body FROM template"
        " WHERE channel = $1 AND account = $2 AND state = 'approved' AND provider_ref IS NOT NULL",
        channel.value,
        account,
    )
    return [Approved(**row) for row in found]


async def keep(db: Database, channel: ChannelName, account: str, template: NewTemplate, provider_ref: str) -> None:
    """Write down that the provider has a template; one registered anew starts again at `unsubmitted`."""
    await db.pool.execute(
        "INSERT INTO template AS t (channel, account, name, language, provider_ref, category, body, variables)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
        " ON CONFLICT (channel, account, name, language) DO UPDATE"
        " SET provider_ref = excluded.provider_ref, category = excluded.category, body = excluded.body,"
        " variables = excluded.variables, state = 'unsubmitted', reason = NULL, checked_at = NULL"
        " WHERE t.provider_ref IS DISTINCT FROM excluded.provider_ref",
        channel.value,
        account,
        template.name,
        template.language,
        provider_ref,
        template.category,
        template.body,
        dict(template.variables),
    )


async def mark(
    db: Database, channel: ChannelName, account: str, row: Row, state: str, reason: str | None, asked_at: datetime
) -> bool:
    """Write down what the provider answered of a template when it was asked at `asked_at`.

    What it told by itself meanwhile is newer and stays. False when the template was registered anew meanwhile.
    """
    done = await db.pool.fetchval(
        "UPDATE template SET state = CASE WHEN checked_at > $8 THEN state ELSE $6 END,"
        " reason = CASE WHEN checked_at > $8 THEN reason ELSE $7 END, checked_at = greatest(checked_at, $8)"
        " WHERE (channel, account, name, language, provider_ref) = ($1, $2, $3, $4, $5) RETURNING 1",
        channel.value,
        account,
        row.name,
        row.language,
        row.provider_ref,
        state,
        reason,
        asked_at,
    )
    return done is not None


async def told(
    db: Database,
    channel: ChannelName,
    account: str,
    provider_ref: str,
    language: str,
    state: str,
    reason: str | None,
    at: datetime,
) -> bool:
    """Write down what the provider told of a template by itself at `at`; False when it is not ours.

    What is older than what we know changes nothing: webhooks come late, twice and in any order. `at` may be in whole
    seconds, as Meta's are; so what happened within one counts as newer than what we asked in it.
    """
    done = await db.pool.fetchval(
        "UPDATE template SET state = CASE WHEN checked_at >= $7::timestamptz + interval '1 s' THEN state ELSE $5 END,"
        " reason = CASE WHEN checked_at >= $7::timestamptz + interval '1 s' THEN reason ELSE $6 END,"
        " checked_at = greatest(checked_at, $7)"
        " WHERE (channel, account, provider_ref, language) = ($1, $2, $3, $4) RETURNING 1",
        channel.value,
        account,
        provider_ref,
        language,
        state,
        reason,
        at,
    )
    return done is not None
