"""What a message about money holds, as the wallet's actions read it."""

from pydantic import Field

from core.actions import ActionContext, Params, ask
from core.errors import InvalidSlot, UserError
from core.language import Saying
from core.messages import Address, ChannelName
from core.people import CONTACT_NAME_CHARS_MAX
from ledger.instruction_store import MPESA, mpesa_account
from ledger.money import BadAmount, Money

AMOUNT_CHARS_MAX = 40
PHONE_CHARS_MAX = 40
PRIVATE = Saying(
    "Let us talk about money in private: write to me directly, not in a group.",
    "Mambo ya pesa tuyaongee faraghani: niandikie moja kwa moja, si kwenye kikundi.",
)
SANDBOX = " · sandbox"
NOT_KES = Saying(
    "M-Pesa moves Kenyan shillings only. How much in KES?", "M-Pesa hutuma shilingi za Kenya tu. Ni KES ngapi?"
)
WHO = Saying(
    "Whom should I pay? Tell me a name from your contacts, or a number.",
    "Nimlipe nani? Niambie jina kutoka mawasiliano yako, au namba.",
)
WHERE_TO = Saying("To which M-Pesa number?", "Kwa namba gani ya M-Pesa?")


class Nothing(Params):
    """Nothing to fill in."""


class Amount(Params):
    """How much."""

    amount: str = Field(
        max_length=AMOUNT_CHARS_MAX, min_length=1, coerce_numbers_to_str=True,
        description="How much, in digits, such as 500", json_schema_extra=ask("How much?", "Kiasi gani?"),
    )  # fmt: skip
    currency: str = Field(
        default=MPESA, pattern="^[A-Z]{3}$", description="Its ISO 4217 code; KES unless another is said",
        json_schema_extra=ask("In which currency?", "Kwa sarafu gani?"),
    )  # fmt: skip


class SendMoney(Amount):
    """How much, and to whom."""

    recipient: str | None = Field(
        default=None, max_length=CONTACT_NAME_CHARS_MAX,
        description="Who gets it, as the person named them", json_schema_extra=ask(WHO.en, WHO.sw),
    )  # fmt: skip
    phone_number: str | None = Field(
        default=None, max_length=PHONE_CHARS_MAX, coerce_numbers_to_str=True,
        description="Their phone number, where the person said one", json_schema_extra=ask(WHERE_TO.en, WHERE_TO.sw),
    )  # fmt: skip


def in_shillings(ctx: ActionContext, written: str, currency: str) -> Money:
    """The amount that is meant, in whole shillings; InvalidSlot where that is not certain."""
    if currency != MPESA:
        raise InvalidSlot("amount", NOT_KES)
    try:
        return Money.parse(written, MPESA, language=ctx.person.language, zone=ctx.zone.key)
    except BadAmount as problem:
        raise InvalidSlot("amount", problem.says) from problem


def mpesa(number: str) -> str:
    """A phone number as M-Pesa writes it; InvalidSlot for one that it does not have."""
    try:
        return mpesa_account(number)
    except UserError as problem:
        raise InvalidSlot("phone_number", problem.says) from problem


def own_number(sender: Address | None) -> str | None:
    """The phone number that somebody writes from, where the channel tells it."""
    if sender is None or sender.channel is not ChannelName.WHATSAPP:
        return None
    number = sender.person.removeprefix("whatsapp:").removeprefix("+")
    return f"+{number}" if number.isascii() and number.isdecimal() else None


def in_private(ctx: ActionContext) -> None:
    if ctx.sender is not None and not ctx.sender.is_private:
        raise UserError(PRIVATE)
