"""Currency conversion: exact to the last digit, from both providers over real sockets."""

import ast
import json
import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

import connectors.currency
from connectors.currency import ConvertCurrency, convert, convert_currency
from core.actions import ActionContext
from core.errors import InvalidSlot, ProviderRefused, ProviderUnavailable
from core.messages import Address, ChannelName
from core.money import DECIMALS
from core.settings import Settings
from tests.conftest import Sandbox
from tests.connectors.conftest import MakeContext

SENTENCE = re.compile(r"USD 100\.00 is KES [\d,]+\.\d\d \(rate \d+\.\d{2,} of \d{1,2} \w{3}\)\. · sandbox")


@pytest.fixture(params=["Frankfurter", "ExchangeRate-API"])
def context(
    request: pytest.FixtureRequest, make_context: MakeContext, settings: Settings, sandbox: Sandbox
) -> ActionContext:
    """A context for either provider: without a key, and with one."""
    if request.param == "ExchangeRate-API":
        key = SecretStr("sandbox-rates-key")
        base_url = f"{sandbox.url}/exchangerate"
        settings = settings.model_copy(update={"exchangerate_api_key": key, "exchangerate_base_url": base_url})
    return make_context(settings=settings)


def plan(context: ActionContext, sandbox: Sandbox, *faults: Any) -> None:
    """Trouble at the provider of this context."""
    name = "exchangerate" if context.settings.exchangerate_api_key.get_secret_value() else "frankfurter"
    assert sandbox.post(f"/{name}/_faults", json.dumps({"plan": faults})) < 300


def asked(amount: str, base: str, target: str | None = None) -> ConvertCurrency:
    return ConvertCurrency(amount=amount, from_currency=base, to_currency=target)


async def test_answer_says_amounts_rate_day_and_that_it_is_a_sandbox(context: ActionContext) -> None:
    result = await convert_currency.run(context, asked("100", "usd", "kes"))
    assert SENTENCE.fullmatch(result.text), result.text
    rate, converted = Decimal(str(result.data["rate"])), Decimal(str(result.data["result"]))
    assert converted == (rate * 100).quantize(Decimal("0.01"))


async def test_local_currency_is_meant_when_none_is_named(context: ActionContext) -> None:
    result = await convert_currency.run(context, asked("5", "EUR"))
    assert result.data["to_currency"] == "KES"
    abroad = replace(context, sender=Address(ChannelName.WHATSAPP, "ours", "+256772123456", "+256772123456"))
    assert (await convert_currency.run(abroad, asked("5", "EUR"))).data["to_currency"] == "UGX"
    stated = replace(abroad, person=replace(context.person, currency="USD"))
    assert (await convert_currency.run(stated, asked("5", "EUR"))).data["to_currency"] == "USD"


async def test_one_currency_into_itself_is_asked_about(context: ActionContext) -> None:
    for target in (None, "KES"):
        with pytest.raises(InvalidSlot, match="To which currency") as problem:
            await convert_currency.run(context, asked("5", "KES", target))
        assert problem.value.slot == "to_currency"


async def test_result_has_the_decimals_of_its_currency(context: ActionContext) -> None:
    shillings = await convert_currency.run(context, asked("12.50", "USD", "UGX"))
    assert re.match(r"USD 12\.50 is UGX [\d,]+ \(", shillings.text)


async def test_result_below_the_smallest_coin_says_so(context: ActionContext) -> None:
    tiny = await convert_currency.run(context, asked("0.01", "UGX", "USD"))
    assert tiny.text.startswith("UGX 0.01 is less than USD 0.01 (rate 0.000")


async def test_swahili_is_answered_in_swahili(context: ActionContext) -> None:
    asha = replace(context, person=replace(context.person, language="sw"))
    result = await convert_currency.run(asha, asked("100", "USD", "KES"))
    assert re.fullmatch(r"USD 100\.00 ni KES [\d,.]+ \(kiwango [\d.]+ cha \d+ \w+\)\. · sandbox", result.text)


async def test_passing_trouble_is_tried_over(context: ActionContext, sandbox: Sandbox) -> None:
    plan(context, sandbox, "500_not_executed", {"fault": "429", "retry_after": 0})
    assert SENTENCE.fullmatch((await convert_currency.run(context, asked("100", "USD", "KES"))).text)


@pytest.mark.parametrize("fault", ["200_html", "200_truncated_json"])
async def test_nonsense_is_not_taken_for_a_rate(context: ActionContext, sandbox: Sandbox, fault: str) -> None:
    plan(context, sandbox, *[fault] * 3)
    with pytest.raises(ProviderUnavailable):
        await convert_currency.run(context, asked("100", "USD", "KES"))


async def test_pair_without_a_rate_is_asked_about(context: ActionContext) -> None:
    with pytest.raises(InvalidSlot, match="There is no rate from USD to KPW") as problem:
        await convert_currency.run(context, asked("1", "USD", "KPW"))
    assert problem.value.slot == "to_currency"


async def test_wrong_key_is_refused_and_stays_secret(
    make_context: MakeContext, settings: Settings, sandbox: Sandbox
) -> None:
    wrong = {"exchangerate_api_key": SecretStr("w/r?o#ng-key"), "exchangerate_base_url": f"{sandbox.url}/exchangerate"}
    with pytest.raises(ProviderRefused) as problem:
        await convert_currency.run(make_context(settings=settings.model_copy(update=wrong)), asked("1", "USD", "KES"))
    assert "ng-key" not in str(problem.value)


@pytest.mark.parametrize(
    "amount",
    ["0", "0.00", "-1", "+1", "1e3", "1,000", "1.", ".5", "1.0000001", "1" * 16, "٣", "NaN", "ten", True, []],
)
def test_amounts_that_are_not_plain_and_positive_are_refused(amount: Any) -> None:
    with pytest.raises(ValidationError):
        ConvertCurrency(amount=amount, from_currency="USD")


@pytest.mark.parametrize("code", ["US", "USDT", "ABC", "", "€", "X" * 100])
def test_codes_of_no_currency_are_refused(code: str) -> None:
    with pytest.raises(ValidationError):
        asked("1", code)


def test_amounts_of_any_size_convert_without_losing_a_digit() -> None:
    assert convert(Decimal("999999999999999.999999"), Decimal("123456789.123456789"), "KWD") == Decimal(
        "123456789123456788999876.543"
    )


@pytest.mark.parametrize(("amount", "rounded"), [("0.125", "0.12"), ("0.135", "0.14"), ("0.1250001", "0.13")])
def test_half_a_coin_is_rounded_to_even(amount: str, rounded: str) -> None:
    assert convert(Decimal(amount), Decimal(1), "KES") == Decimal(rounded)


@hypothesis_settings(deadline=None)
@given(
    st.decimals("0.000001", "999999999999999", places=6), st.decimals("0.000001", "1000000", places=9),
    st.sampled_from(sorted(DECIMALS)),
)  # fmt: skip
def test_rounding_is_never_off_by_more_than_half_a_coin(amount: Decimal, rate: Decimal, code: str) -> None:
    coin = 10 ** DECIMALS[code]
    # Whole numbers on both sides, so that the check itself rounds nothing.
    exact = int(amount * 10**6) * int(rate * 10**9) * coin
    assert abs(int(convert(amount, rate, code) * coin) * 10**15 - exact) * 2 <= 10**15


def test_no_binary_fraction_is_written_in_the_module() -> None:
    tree = ast.parse(Path(connectors.currency.__file__).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), ast.unparse(node)
        assert not (isinstance(node, ast.Name) and node.id == "float")
        assert not isinstance(node, ast.Div)


async def test_rate_reaches_us_with_every_digit_the_provider_wrote(context: ActionContext) -> None:
    result = await convert_currency.run(context, asked("1", "USD", "KES"))
    assert "E" not in str(result.data["rate"])
    assert str(Decimal(str(result.data["rate"]))) == result.data["rate"]
