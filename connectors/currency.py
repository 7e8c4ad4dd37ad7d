"""Currency: an amount of one currency in another, by ExchangeRate-API where there is a key, else by Frankfurter.

Amounts and rates are Decimal from the wire to the sentence; no binary fraction touches them.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from datetime import date as Date
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Annotated, TypeVar
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from core.actions import ActionContext, ActionResult, Connector, Effect, Params, action, ask
from core.errors import InvalidSlot, ProviderUnavailable, Unusable
from core.language import Saying, month
from core.money import DECIMALS
from core.providers import Provider, Refused
from core.settings import Settings

UNKNOWN = Saying(
    "I do not know a currency called {code}; its code has three letters, such as KES or USD.",
    "Siijui sarafu inayoitwa {code}; msimbo wake una herufi tatu, kama KES au USD.",
)
TOO_LITTLE = Saying("The amount must be more than zero.", "Kiasi lazima kizidi sifuri.")
TO_WHICH = Saying("To which currency?", "Kwenda sarafu gani?")
SAME = Saying("{code} stays {code}.", "{code} hubaki {code}.")
ALREADY = Saying("The amount is in {code} already.", "Kiasi hicho tayari ni {code}.")
NO_RATE = Saying("There is no rate from {base} to {target}.", "Hakuna kiwango cha kubadilisha {base} kuwa {target}.")
IS = Saying("{amount} is {result} (rate {rate} of {day}).", "{amount} ni {result} (kiwango {rate} cha {day}).")
LESS = Saying("less than {amount}", "chini ya {amount}")

AMOUNT = r"^[0-9]{1,15}(\.[0-9]{1,6})?$"
PRECISION = 60
"""Digits kept while calculating: more than the longest amount and rate have together."""
RATE_DIGITS = 6
"""Significant digits of a rate that are shown."""


def _code(value: str) -> str:
    code = value.upper()
    if code not in DECIMALS:
        raise Unusable(UNKNOWN.filled(code=value))
    return code


def _positive(value: str) -> str:
    if not value.strip("0."):
        raise Unusable(TOO_LITTLE)
    return value


Amount = Annotated[str, Field(pattern=AMOUNT, coerce_numbers_to_str=True), AfterValidator(_positive)]
Code = Annotated[str, Field(max_length=20), AfterValidator(_code)]


class ConvertCurrency(Params):
    """How much, and between which currencies."""

    amount: Amount = Field(
        description="Amount as decimal digits with a point, e.g. 1250 or 12.50; at most 15 digits and 6 decimals",
        json_schema_extra=ask("How much should I convert?", "Nibadilishe kiasi gani?"),
    )  # fmt: skip
    from_currency: Code = Field(
        description="ISO 4217 code of the currency of the amount, e.g. USD",
        json_schema_extra=ask("From which currency?", "Kutoka sarafu gani?"),
    )  # fmt: skip
    to_currency: Code | None = Field(
        default=None, description="ISO 4217 code to convert to; the person's own currency when left out",
        json_schema_extra=ask(TO_WHICH.en, TO_WHICH.sw),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rate:
    """What one unit of a currency was worth in another, on a day."""

    rate: Decimal
    date: Date


@action(
    effect=Effect.READ, cache_for=timedelta(hours=1),
    examples=("convert 100 USD to KES", "how much is 250 euros in shillings?", "badilisha dola 50 kuwa shilingi"),
)  # fmt: skip
async def convert_currency(ctx: ActionContext, params: ConvertCurrency) -> ActionResult:
    """Convert an amount of money from one currency to another, at the day's rate."""
    settings = ctx.settings
    base, target = params.from_currency, params.to_currency or ctx.currency
    if base == target:
        why = (SAME if params.to_currency else ALREADY).filled(code=base)
        raise InvalidSlot("to_currency", Saying.joined(" ", why, TO_WHICH))
    key = settings.exchangerate_api_key.get_secret_value()
    if key:
        base_url = settings.exchangerate_base_url
        rate = await ask_exchangerate(ctx.providers.client("ExchangeRate-API", base_url), key, base, target)
    else:
        base_url = settings.frankfurter_base_url
        rate = await ask_frankfurter(ctx.providers.client("Frankfurter", base_url), base, target)
    amount = Decimal(params.amount)
    result = convert(amount, rate.rate, target)
    smallest = Decimal(1).scaleb(-DECIMALS[target])
    shown = _money(result, target) if result else LESS.filled(amount=_money(smallest, target))
    day = Saying.joined(" ", str(rate.date.day), month(rate.date.month))
    text = (
        ctx.say(IS, amount=_money(amount, base), result=shown, rate=_rate(rate.rate), day=day)
        + (" · sandbox" if settings.is_sandbox(base_url) else "")
    )  # fmt: skip
    data = {
        "amount": params.amount, "from_currency": base, "to_currency": target, "result": format(result, "f"),
        "rate": format(rate.rate, "f"), "date": rate.date.isoformat(),
    }  # fmt: skip
    return ActionResult(text, data)


def convert(amount: Decimal, rate: Decimal, target: str) -> Decimal:
    """The amount in the target currency, rounded half to even to the decimals that currency has."""
    with localcontext(prec=PRECISION):
        return (amount * rate).quantize(Decimal(1).scaleb(-DECIMALS[target]), ROUND_HALF_EVEN)


def _money(amount: Decimal, code: str) -> str:
    """Code and grouped digits, with at least the decimals of the currency and all that were given."""
    exponent = amount.normalize().as_tuple().exponent
    given = -exponent if isinstance(exponent, int) else 0
    return f"{code} {amount:,.{max(DECIMALS[code], given)}f}"


def _rate(rate: Decimal) -> str:
    """A rate to RATE_DIGITS significant digits and at least two decimals."""
    decimals = max(2, RATE_DIGITS - 1 - rate.adjusted())
    whole, _, fraction = f"{rate:,.{decimals}f}".partition(".")
    return f"{whole}.{fraction.rstrip('0'):0<2}"


T = TypeVar("T", bound=BaseModel)


def _read(kind: type[T], body: object, provider: Provider) -> T:
    """A provider's answer as the type it should be; ProviderUnavailable when it is something else."""
    try:
        return kind.model_validate(body)
    except ValidationError:
        raise ProviderUnavailable(f"{provider.name} answered in a form we do not know.") from None


def _no_rate(base: str, target: str) -> InvalidSlot:
    return InvalidSlot("to_currency", Saying.joined(" ", NO_RATE.filled(base=base, target=target), TO_WHICH))


class FrankfurterRate(BaseModel):
    """One rate of one day."""

    date: Date
    base: str
    quote: str
    rate: Decimal = Field(gt=0, lt=Decimal("1e15"))


async def ask_frankfurter(provider: Provider, base: str, target: str) -> Rate:
    """The newest rate Frankfurter has; InvalidSlot when it has none for this pair."""
    try:
        body = await provider.get_json(f"/v2/rate/{base}/{target}", exact=True)
    except Refused as refused:
        if refused.status in (404, 422):
            raise _no_rate(base, target) from None
        raise
    answer = _read(FrankfurterRate, body, provider)
    if (answer.base, answer.quote) != (base, target):
        raise ProviderUnavailable(f"{provider.name} answered for another pair of currencies.")
    return Rate(answer.rate, answer.date)


class ExchangeRate(BaseModel):
    """One rate, and when it was set in seconds since 1970."""

    base_code: str
    target_code: str
    conversion_rate: Decimal = Field(gt=0, lt=Decimal("1e15"))
    time_last_update_unix: int = Field(ge=0, lt=10**11)


async def ask_exchangerate(provider: Provider, key: str, base: str, target: str) -> Rate:
    """The newest rate ExchangeRate-API has; InvalidSlot when it has none for this pair."""
    try:
        body = await provider.get_json(f"/v6/{quote(key, safe='')}/pair/{base}/{target}", exact=True)
    except Refused as refused:
        kind = refused.body.get("error-type") if isinstance(refused.body, dict) else None
        if kind in ("unsupported-code", "unknown-code"):
            raise _no_rate(base, target) from None
        raise
    answer = _read(ExchangeRate, body, provider)
    if (answer.base_code, answer.target_code) != (base, target):
        raise ProviderUnavailable(f"{provider.name} answered for another pair of currencies.")
    return Rate(answer.conversion_rate, datetime.fromtimestamp(answer.time_last_update_unix, UTC).date())


def asked_at(settings: Settings) -> str:
    """Whose rates they are."""
    keyed = settings.exchangerate_api_key.get_secret_value()
    return settings.exchangerate_base_url if keyed else settings.frankfurter_base_url


connector = Connector(name="currency", title=Saying("Currency", "Sarafu"), actions=(convert_currency,), asks=asked_at)
