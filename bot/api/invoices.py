"""Invoices from a program: shown in the caller's chat, where they are confirmed, and sent only then."""

from typing import Annotated
from uuid import uuid4

from pydantic import Field

from bot.api.endpoint import Answer, Call, Endpoint, Given, Refuse, Told
from core import confirm, renumber
from core.actions import ActionContext, Person, Shown
from core.catalog import Problem
from core.db import driver
from core.language import Saying, spoken
from core.messages import Address, ChannelName, Text
from core.names import names_of
from core.outbox import NewMessage, post

ACTION = "create_invoice"
TEXT_CHARS_MAX = 500

NOT_HERE = Saying("Invoices cannot be sent here.", "Ankara haziwezi kutumwa hapa.")
WRITE_FIRST = Saying(
    "Write in your chat once, where the invoice is confirmed.",
    "Andika kwanza kwenye gumzo lako, ankara huthibitishwa humo.",
)
CALLER = """
SELECT p.id, p.name, p.language, p.language_chosen, p.plan, p.currency, coalesce(p.timezone, p.zone_guess) AS timezone,
       c.id AS conversation_id
FROM identity i JOIN person p ON p.id = i.person_id
JOIN conversation c ON (c.channel, c.account, c.room) = (i.channel, i.account, i.provider_id)
WHERE (i.channel, i.account, i.provider_id) = ('web', $1, $2)
"""

Word = Annotated[str, Field(min_length=1, max_length=TEXT_CHARS_MAX)]


class Wanted(Given):
    """An invoice. `amount` is a text such as "1250.50", `due_date` such as "2026-12-05", `recurrence` weekly, monthly,
    yearly or an RFC 5545 rule. Without an address or a number a contact of the caller of that name is looked up."""

    amount: Word
    payer_name: Word
    currency: Word | None = None
    description: Word | None = None
    payer_email: Word | None = None
    phone_number: Word | None = None
    due_date: Word | None = None
    recurrence: Word | None = None


class ToConfirm(Told):
    """What stands in the caller's chat, with a code that sends it when it is typed there within ten minutes."""

    state: str
    shown: str


async def create(call: Call) -> Answer:
    """Show what would be sent in the caller's chat; nothing is made before they confirm it there."""
    services = call.services
    if ACTION not in services.catalog:
        raise Refuse(404, "not_here", NOT_HERE)
    action = services.catalog[ACTION]
    visitor = str(call.place.visitor)
    sender = Address(ChannelName.WEB, call.place.account, visitor, visitor)
    async with services.db.hot() as connection:
        row = await connection.fetchrow(CALLER, sender.account, sender.person)
        if row is None:
            raise Refuse(404, "nobody", WRITE_FIRST)
        name = (await names_of(connection)).open(row["name"])
    person = Person(
        row["id"], name, row["language"], row["timezone"], row["plan"], row["language_chosen"], row["currency"]
    )
    params = services.catalog.validate(action, call.body.model_dump(exclude_none=True))
    if isinstance(params, Problem):
        raise Refuse(422, "bad_body", Saying.joined(": ", params.slot, params.question))
    key = f"api:{uuid4()}"
    context = ActionContext(
        person, row["conversation_id"], services.db, services.providers, services.settings, call.now, key, sender
    )
    await renumber.check(services.db.pool, action, person, sender, offered=services.catalog.names)
    assert action.shows is not None  # noqa: S101  it reaches others
    shown = await action.shows(context, params)
    assert isinstance(shown, Shown)  # noqa: S101  it freezes what is done
    async with services.db.transaction() as session:
        frozen = shown.params.model_dump_json().encode()
        code = await confirm.ask(session, sender, row["conversation_id"], ACTION, frozen, call.now)
        text = f"{shown.text}\n\n{confirm.HOW[spoken(person.language)].format(code=code)}"
        connection = await driver(session)
        await post(connection, [NewMessage(row["conversation_id"], (Text(text=text),), "reply", key)])
        await services.wakes.notify(connection, "outbox")
    services.wakes.wake("outbox")
    return 202, ToConfirm(state="to_confirm", shown=shown.text)


ENDPOINTS = (
    Endpoint(
        "POST", "/api/connectors/create_invoice/", "Send somebody an invoice, once it is confirmed in the chat", create,
        ToConfirm, body=Wanted, status=202,
    ),
)  # fmt: skip
