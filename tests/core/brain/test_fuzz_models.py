"""Whatever a model answers, it is an answer or none: no exception, and nothing runs that the table does not allow."""

import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from anthropic import AsyncAnthropic, AsyncStream
from anthropic.types import RawMessageStreamEvent

from connectors import CONNECTORS
from core.actions import Action, ActionResult, Effect, Params
from core.brain import claude, compatible, honest
from core.brain.hands import Allowance, Hands, Judged
from core.brain.llm import Call, ModelAway, Patience, Said
from core.brain.tools import PASS_ON, Known
from core.catalog import Catalog
from core.errors import ProviderUnavailable, UserError
from core.settings import Settings
from tests.skills import WHOLE, missing

pytestmark = pytest.mark.skipif(bool(missing(*WHOLE)), reason=missing(*WHOLE))

SETTINGS = Settings(_env_file=None, sandbox_url="http://sandbox.invalid").sandboxed()
CATALOG = Catalog(CONNECTORS, SETTINGS, confirms=True)
OUTPUTS = 5_000
STREAMS = 1_000
"""Of each provider."""
PATIENCE = Patience(5.0, 5.0, 5.0)

ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "set_reminder": ("remind me to call Asha tomorrow at 9", {"content": "call Asha", "time": "2036-11-27T09:00"}),
    "cancel_reminder": ("cancel the reminder about the rent", {"which": "rent"}),
    "snooze_reminder": ("snooze the reminder about the rent for 30 minutes", {"which": "rent", "minutes": 30}),
    "save_contact": ("save Otieno's number 0712345678", {"name": "Otieno", "phone": "0712345678"}),
    "forget_contact": ("forget my contact Juma", {"name": "Juma"}),
    "remember_fact": ("remember that I prefer window seats", {"kind": "preference", "words": "window seats"}),
    "forget_fact": ("forget that I prefer window seats", {"which": "window seats"}),
    "change_fact": ("I no longer prefer window seats but the aisle", {"words": "the aisle", "which": "window seats"}),
    "set_name": ("call me Asha", {"name": "Asha"}),
    "set_email": ("my e-mail is asha@example.com", {"email": "asha@example.com"}),
    "set_language": ("speak Swahili with me", {"language": "sw"}),
    "set_timezone": ("my time zone is Nairobi", {"zone": "Nairobi"}),
    "set_currency": ("my currency is USD", {"currency": "USD"}), "forget_currency": ("forget my currency", {}),
    "get_weather": ("weather in Nairobi", {"city": "Nairobi"}),
    "convert_currency": ("100 USD in KES", {"amount": "100", "from_currency": "USD", "to_currency": "KES"}),
    "ask_document": ("what does the contract say about rent", {"question": "rent"}),
    "erase_my_data": ("erase my data", {}), "forget_everything": ("forget everything you know about me", {}),
    "export_my_data": ("export my data", {}), "unlink_account": ("unlink my account", {}),
    "talk_to_human": ("let me talk to a human", {}), "undo": ("undo that", {}), "forget_name": ("forget my name", {}),
    "forget_conversation": ("forget what we talked about", {}), "list_contacts": ("list my contacts", {}),
    "list_facts": ("what are my preferences?", {}), "list_reminders": ("list my reminders", {}),
    "my_profile": ("what do you know about me?", {}), "check_quotas": ("how much may I still use today?", {}),
    "summarise_document": ("summarise the document", {}), "check_balance": ("what is my balance?", {}),
    "check_payments": ("did my payment go through?", {}), "list_transactions": ("show my transactions", {}),
    "send_money": ("send 500 to 0712345678", {"amount": "500", "phone_number": "0712345678"}),
    "withdraw": ("withdraw 500", {"amount": "500"}), "pause_payments": ("pause my payments", {}),
    "resume_payments": ("resume my payments", {}),
    "open_account_page": ("change my PIN", {}), "cancel_pin_reset": ("cancel the PIN reset", {}),
    "check_spending_limits": ("my payment limits", {}),
    "set_spending_limit": ("set my daily limit to 5000", {"per": "day", "amount": "5000"}),
    "create_invoice": (
        "invoice Juma 5000 shillings for the logo",
        {"amount": "5000", "payer_name": "Juma", "description": "logo"},
    ),
    "check_invoice_status": ("show my invoices", {}),
    "refund_invoice": ("refund the invoice for Juma", {"invoice": "Juma"}),
    "open_dispute": (
        "dispute the 500 to Juma, he never delivered",
        {"payment": "Juma", "amount": "500", "reason": "he never delivered"},
    ),
    "grant_mandate": (
        "let Rent pay Jane 500 each, 500 a day, 2000 in all",
        {"workflow": "Rent", "payees": "Jane", "each": "500", "per_day": "500", "total": "2000"},
    ),
    "list_mandates": ("my mandates", {}), "cancel_mandate": ("cancel the mandate of Rent", {"workflow": "Rent"}),
    "mark_invoice_paid": ("mark the invoice for Juma as paid in cash", {"invoice": "Juma", "how": "cash"}),
    "unmark_invoice_paid": ("unmark the invoice for Juma", {"invoice": "Juma"}),
    "resend_invoice": ("resend the invoice for Juma", {"invoice": "Juma"}),
    "void_invoice": ("void the invoice for Juma", {"invoice": "Juma"}),
    "stop_recurring_invoice": ("stop the monthly invoice to Juma", {"invoice": "Juma"}),
    "top_up": ("top up 500 shillings from 0712345678", {"amount": "500", "phone_number": "0712345678"}),
}  # fmt: skip
"""What somebody says, by the action that they ask for, and its arguments."""
CONTACTS = (Known("Juma", "+254700111222", None),)


def allowed(one: Action[Any], *, is_private: bool, tainted: bool) -> bool:
    """The table, from what actions declare of themselves."""
    if one.secrets:
        return False
    if tainted:
        return one.effect is Effect.READ and one.own
    return is_private or one.shows is None


class Ran:
    """The hands of a model that only count what would be run."""

    def __init__(
        self, *, is_private: bool, tainted: bool, written: str, first: int = 0, made: random.Random | None = None
    ):
        self.run: list[str] = []
        self.made = made

        async def known() -> tuple[Known, ...]:
            return CONTACTS

        async def run_one(_number: int, one: Action[Any], params: Params) -> ActionResult:
            assert isinstance(params, one.params)
            self.run.append(one.name)
            if self.made is not None and self.made.random() < 0.1:
                raise self.made.choice([UserError("No."), ProviderUnavailable("away")])
            return ActionResult("Some words.")

        async def show_one(_number: int, one: Action[Any], _params: Params) -> str:
            self.run.append(one.name)
            return "Type 123456"

        self.hands = Hands(
            CATALOG, "en", is_private, tainted, written, known, run_one, show_one, Allowance(), first=first
        )

    async def takes(self, *calls: Call) -> list[Judged]:
        """Judge and run the calls of one answer."""
        judged = await self.hands.judge(calls)
        results = await self.hands.run([one.asked_first() for one in judged])
        assert len(results) == len(calls)
        return judged


@pytest.mark.parametrize("first", [0, 3], ids=["first attempt", "retried"])
@pytest.mark.parametrize("tainted", [False, True], ids=["own", "tainted"])
@pytest.mark.parametrize("is_private", [True, False], ids=["private", "group"])
async def test_every_action_runs_where_the_table_says_so_and_nowhere_else(
    is_private: bool, tainted: bool, first: int
) -> None:
    ran, expected = set(), set()
    for one in CATALOG.offered:
        said, given = ASKED.get(one.name, ("", {slot: "123456" for slot in one.slots}))
        assert said or one.secrets or one.name not in ASKED, one.name
        for written in (said, "good day to you"):
            hands = Ran(is_private=is_private, tainted=tainted, written=written, first=first)
            await hands.takes(Call("1", one.name, json.dumps(given)))
            ran |= {(name, written) for name in hands.run}
            # Whoever did not ask for it has it looked up at most.
            if said and allowed(one, is_private=is_private, tainted=tainted) and (
                written == said or one.effect is Effect.READ
            ):  # fmt: skip
                expected.add((one.name, written))
    assert {one for one in ran if one[0] in ASKED} == expected
    assert not {one for one in ran if one[0] not in ASKED}


async def test_what_is_read_first_taints_what_comes_after_it_and_a_number_is_used_once() -> None:
    hands = Ran(is_private=True, tainted=False, written=ASKED["set_reminder"][0])
    await hands.takes(Call("1", "get_weather", json.dumps(ASKED["get_weather"][1])))
    await hands.takes(Call("2", "set_reminder", json.dumps(ASKED["set_reminder"][1])))
    assert hands.run == ["get_weather"]
    assert hands.hands.first == 2


JUNK: tuple[Any, ...] = (
    None, True, 0, -1, 10**400, 1e308, "", "x" * 5_000, "\u0000", "\ud800", "\u202e", [], {}, [[]], {"a": {"b": [1]}},
    "DROP TABLE person", "</untrusted>", "all", "1", ["+254700666666"], "+254700666666", "https://evil.example", "sw",
    "9999-99-99", "NaN", {"$ref": "#"}, "Ａｓｈａ", "\u200bAsha",
)  # fmt: skip
NAMES = (
    "",
    "pass_on",
    "eval",
    "send_money",
    "set_reminder ",
    "SET_REMINDER",
    "set_reminder\u200b",
    "x" * 300,
    "../",
    "9",
)
RAW = (
    "", "{", "}", "[]", "null", "NaN", "{}{}", '{"a":1', "[" * 20_000, '{"a":' * 5_000, '{"time": Infinity}', "\ud800",
    '{"name": "a", "name": "b"}', '"x"', "{'a': 1}", "{" + " " * 9_000 + "}", '{"confidence": 2}',
)  # fmt: skip


def mutated(made: random.Random, name: str, given: dict[str, Any]) -> Call:
    """A call as a model might write it on a bad day."""
    given = json.loads(json.dumps(given))
    for _ in range(made.randrange(3)):
        slots = [*given, *CATALOG[name].slots, "confidence", "__proto__", "x" * made.randrange(99)]
        match made.randrange(3):
            case 0 if given:
                del given[made.choice(list(given))]
            case _:
                given[made.choice(slots)] = made.choice(JUNK)
    raw = json.dumps(given)
    match made.randrange(8):
        case 0:
            raw = made.choice(RAW)
        case 1:
            at = made.randrange(len(raw))
            raw = raw[:at] + made.choice(["", "{", '"', "\\", ",", "\ud83d", "\x00"]) + raw[at + made.randrange(3) :]
        case 2:
            raw = raw + raw
    if made.random() < 0.15:
        name = made.choice(NAMES)
    return Call(made.choice(["", "1", "toolu_1"]), name, raw)


async def test_thousands_of_mutated_calls_run_nothing_the_table_does_not_allow() -> None:
    made = random.Random(7)
    seen: Counter[str] = Counter()
    began = time.process_time()
    left = OUTPUTS
    while left > 0:
        name = made.choice(list(ASKED))
        is_private, tainted = made.random() < 0.5, made.random() < 0.3
        written = made.choice([ASKED[name][0], "", "good day to you", ASKED[made.choice(list(ASKED))][0]])
        hands = Ran(is_private=is_private, tainted=tainted, written=written, made=made)
        for _ in range(made.randint(1, 3)):
            was_tainted, before = hands.hands.tainted, len(hands.run)
            calls = [mutated(made, *_any(made, name)) for _ in range(made.randint(1, 4))]
            left -= len(calls)
            await hands.takes(*calls)
            now = hands.run[before:]
            for one in now:
                assert allowed(CATALOG[one], is_private=is_private, tainted=was_tainted), (one, calls)
                assert CATALOG[one].effect is Effect.READ or written, (one, calls)
            seen.update(now)
    assert PASS_ON not in seen
    assert len(seen) >= 15, "too little of it ever runs for this to show anything"
    assert time.process_time() - began < 20


def _any(made: random.Random, name: str) -> tuple[str, dict[str, Any]]:
    wanted = name if made.random() < 0.6 else made.choice(list(ASKED))
    return wanted, ASKED[wanted][1]


CLAUDE: list[dict[str, Any]] = [
    {"type": "message_start", "message": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None,
        "stop_sequence": None, "usage": {"input_tokens": 10, "output_tokens": 1, "cache_read_input_tokens": 5}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello. I have sent it."}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {
        "type": "tool_use", "id": "toolu_1", "name": "set_reminder", "input": {}}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{\"time\":"}},
    {"type": "content_block_stop", "index": 1},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 20}},
    {"type": "message_stop"},
]  # fmt: skip
OPENAI: list[dict[str, Any]] = [
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hello. I have sent it."}}]},
    {"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "undo", "arguments": "{"}}]}}]},
    {"choices": [
        {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]}, "finish_reason": "tool_calls"}]},
    {"choices": [], "usage": {
        "prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 1}}},
]  # fmt: skip
BITS = (
    b"",
    b"\n",
    b"\n\n",
    b"data: ",
    b"\xff\xfe",
    b"\xf0\x9f",
    b"data: [DONE]\n\n",
    b"{",
    b"event: error\n",
    b"\x00",
    b": \n",
)


def _shaken(made: random.Random, value: Any) -> Any:
    """A copy of something like JSON, with a piece of it gone, doubled, or replaced by something else."""
    if isinstance(value, dict) and value and made.random() < 0.85:
        name = made.choice(list(value))
        if made.random() < 0.15:
            return {other: one for other, one in value.items() if other != name}
        return {**value, name: _shaken(made, value[name])}
    if isinstance(value, list) and value and made.random() < 0.85:
        at = made.randrange(len(value))
        if made.random() < 0.15:
            return [*value, *value[at:]]
        return [*value[:at], _shaken(made, value[at]), *value[at + 1 :]]
    return made.choice(JUNK)


def _stream(made: random.Random, events: list[dict[str, Any]], line: Callable[[dict[str, Any]], str]) -> bytes:
    events = list(events)
    for _ in range(made.randint(0, 2)):
        at = made.randrange(len(events))
        match made.randrange(4):
            case 0:
                del events[at]
            case 1:
                events.insert(at, made.choice(events))
            case _:
                events[at] = _shaken(made, events[at])
        if not events:
            return b""
    data = "".join(map(line, events)).encode("utf-8", "replace")
    if made.random() < 0.3:
        at = made.randrange(len(data))
        data = data[:at] + made.choice(BITS) + data[at + made.randrange(9) :]
    return data[: made.randrange(len(data))] if made.random() < 0.1 else data


async def _take(streams: list[tuple[bytes, AsyncIterator[Any]]], module: Any) -> tuple[list[Said], Counter[str]]:
    answers, away = [], Counter[str]()
    for data, stream in streams:
        text: list[str] = []
        try:
            said = await module.heard(stream, PATIENCE, text.append)
        except ModelAway as none:
            away[none.reason] += 1
            counted = none.usage.counted
        except Exception as error:
            raise AssertionError(data) from error
        else:
            answers.append(said)
            assert said.text == "".join(text).strip()
            counted = said.usage.counted
            assert "have sent it" not in honest.filtered(said.text).text
            hands = Ran(is_private=True, tainted=False, written="")
            await hands.takes(*said.calls)
            assert all(CATALOG[one].effect is Effect.READ for one in hands.run)
        assert 0 <= counted < 10**8
    return answers, away


async def test_mutated_streams_of_claude_are_an_answer_or_none() -> None:
    made = random.Random(11)
    client = AsyncAnthropic(api_key="sk-ant-none", base_url="http://127.0.0.1:9", max_retries=0)
    streams: list[tuple[bytes, AsyncIterator[Any]]] = []
    for _ in range(STREAMS):
        data = _stream(made, CLAUDE, lambda event: f"event: {_kind(event)}\ndata: {json.dumps(event)}\n\n")
        response = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=data)
        response.request = httpx.Request("POST", "http://127.0.0.1:9/v1/messages")
        streams.append(
            (data, aiter(AsyncStream(cast_to=RawMessageStreamEvent, response=response, client=client)))  # type: ignore[arg-type]
        )
    answers, away = await _take(streams, claude)
    await client.close()
    assert len(answers) > STREAMS / 20
    assert away["cut off"] > STREAMS / 20


def _kind(event: Any) -> str:
    return str(event.get("type")).replace("\n", " ") if isinstance(event, dict) else "message_start"


async def test_mutated_streams_of_others_are_an_answer_or_none() -> None:
    made = random.Random(13)
    streams: list[tuple[bytes, AsyncIterator[Any]]] = []
    for number in range(STREAMS):
        data = _stream(made, OPENAI, lambda event: f"data: {json.dumps(event)}\n\n")
        kind = "application/json" if number % 10 == 0 else "text/event-stream"
        streams.append((data, compatible.chunks_of(httpx.Response(200, headers={"content-type": kind}, content=data))))
    answers, away = await _take(streams, compatible)
    assert len(answers) > STREAMS / 20
    assert away["cut off"] > STREAMS / 20
    assert away["unreadable"] > STREAMS / 20


def test_every_action_that_a_model_may_call_is_in_the_table() -> None:
    assert set(ASKED) == {one.name for one in CATALOG.offered if not one.secrets}
