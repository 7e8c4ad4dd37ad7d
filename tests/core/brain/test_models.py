"""Language models read messages first: over real sockets, against simulators that fail in every way."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.brain import budget
from core.brain.chain import CONFUSED, MORE, REFUSED
from core.brain.honest import NOT_DONE
from core.db import Database
from tests.conftest import Sandbox
from tests.core.brain.thinking import Thinking, thinking
from tests.core.speaking import WEB, at

TOMORROW = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}T09:00"
REMIND: dict[str, Any] = {
    "name": "set_reminder",
    "arguments": {"content": "call Asha", "time": TOMORROW, "confidence": 0.95},
}
WEATHER = {"name": "get_weather", "arguments": {"city": "Nairobi"}}
RATES = {"name": "convert_currency", "arguments": {"amount": "100", "from_currency": "USD", "to_currency": "KES"}}


@pytest.fixture
async def bot(db: Database, valkey_url: str, sandbox: Sandbox) -> AsyncIterator[Thinking]:
    async with thinking(db, valkey_url, sandbox) as made:
        yield made


async def test_what_is_written_becomes_a_call_and_its_receipt_is_the_answer(bot: Thinking) -> None:
    bot.script({"text": "I'll do that.", "calls": [REMIND], "piece_bytes": 1, "noise": True})
    assert (await bot.hear("please don't let me forget to call Asha tomorrow at nine")).startswith("Done. Reminder set")
    assert await bot.count("reminder") == 1
    [asked] = bot.asked()
    assert asked["model"] == "claude-haiku-5-5"
    record = await bot.understood()
    assert {name: record[name] for name in ("action", "confidence", "parser", "model", "steps")} == {
        "action": "set_reminder", "confidence": 0.95, "parser": "claude", "model": "claude-haiku-5-5", "steps": 1,
    }  # fmt: skip
    assert record["tokens_in"] > record["tokens_out"] > 0
    assert "Asha" not in str(record)


async def test_calls_made_at_once_run_at_once_and_the_answer_has_words_and_results(bot: Thinking) -> None:
    bot.script({"calls": [WEATHER, RATES, REMIND]}, {"text": "Take an umbrella."})
    told = await bot.hear("weather in Nairobi, 100 USD in KES, and remind me to call Asha tomorrow at 9")
    assert told.startswith("Take an umbrella.")
    assert "Done. Reminder set" in told
    assert "Nairobi" in told
    assert "USD 100" in told
    first, second = bot.asked()
    assert first["calls"] == ["get_weather", "convert_currency", "set_reminder"]
    [results] = [message for message in second["body"]["messages"] if message["content"][0]["type"] == "tool_result"]
    assert len(results["content"]) == 3
    assert second["usage"]["cache_read_input_tokens"] > 1_000


async def test_model_is_told_of_this_conversation_the_clock_and_what_was_stated(bot: Thinking) -> None:
    other = at(WEB, "brian")
    await bot.hear("I prefer window seats", other)
    bot.script({"calls": [{"name": "remember_fact", "arguments": {"kind": "preference", "words": "mornings"}}]})
    await bot.hear("I prefer mornings")
    bot.script({"text": "Which town?"}, {"text": "A fine town."})
    assert await bot.hear("tell me about my town") == "Which town?"
    assert await bot.hear("Kisumu") == "A fine town."
    body = str(bot.asked()[-1]["body"])
    for told in ("- mornings", "tell me about my town", "Which town?", "Africa/Nairobi"):
        assert told in body
    assert "window" not in body
    assert bot.claude_key not in body


async def test_small_model_passes_on_what_it_is_not_sure_of(bot: Thinking) -> None:
    unsure = {"name": "set_reminder", "arguments": {**REMIND["arguments"], "confidence": 0.3}}
    for answer in (
        {"calls": [unsure]},
        {"calls": [{"name": "pass_on"}]},
        {"calls": [{"name": "set_reminder", "raw": "{"}]},
    ):
        answers = [answer, answer] if "raw" in str(answer) else [answer]
        bot.script(*answers, {"text": "The larger one says hello."})
        assert await bot.hear("call Asha tomorrow") == "The larger one says hello."
        assert [row["model"] for row in bot.asked()][-1] == "claude-sonnet-5-5"
    assert await bot.count("receipt") == 0


async def test_large_model_that_is_not_sure_changes_nothing(bot: Thinking) -> None:
    unsure = {"name": "set_reminder", "arguments": {**REMIND["arguments"], "confidence": 0.3}}
    bot.script({"calls": [{"name": "pass_on"}]}, {"calls": [unsure]}, {"text": "At what time?"})
    assert await bot.hear("call Asha tomorrow at 9") == "At what time?"
    assert await bot.count("reminder") == 0


async def test_answer_that_is_none_gets_one_repair_and_then_a_fixed_sentence(bot: Thinking) -> None:
    bad = {"calls": [{"name": "set_reminder", "arguments": {"content": "call Asha", "surprise": 1}}]}
    bot.script(bad, {"calls": [REMIND]})
    assert (await bot.hear("remind me to call Asha tomorrow at 9")).startswith("Done.")
    bot.script(bad, bad, bad, bad)
    assert await bot.hear("remind me to call Asha tomorrow at 9") == CONFUSED.en
    assert await bot.count("reminder") == 1


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"stop": "refusal", "text": "I"}, REFUSED.en),
        ({"text": "First sentence. Second sent", "stop": "max_tokens"}, f"First sentence.\n\n{MORE.en}"),
        ({"text": "I have sent 500 shillings to Asha."}, NOT_DONE.en),
        ({"text": "Sure. Your reminder is set."}, f"Sure.\n\n{NOT_DONE.en}"),
        ({"text": "See https://evil.example/x. Good day."}, "Good day."),
        ({"text": "To go on, type this code here within 10 minutes: 12345"}, CONFUSED.en),
        ({"text": "OK"}, CONFUSED.en),
        ({"text": ""}, CONFUSED.en),
    ],
)
async def test_words_of_a_model_are_shown_as_far_as_they_may_be(
    bot: Thinking, answer: dict[str, Any], told: str
) -> None:
    bot.script(answer)
    assert await bot.hear("tell me something") == told


async def test_call_cut_off_at_the_limit_of_words_is_not_run(bot: Thinking) -> None:
    cut = {"calls": [REMIND], "stop": "max_tokens"}
    bot.script(cut, cut)
    assert await bot.hear("remind me to call Asha tomorrow at 9") == CONFUSED.en
    assert await bot.count("receipt") == 0


ENOUGH = "That is all."


@pytest.mark.parametrize(
    "failure",
    [
        *({"status": status} for status in (500, 401, 402, 404)),
        {"status": 429, "retry_after": 30}, {"status": 529, "retry_after": 30},
        {"calls": [REMIND], "cut": True}, {"text": "half an answer that is cut", "cut": True},
        {"calls": [REMIND], "error": "overloaded_error"}, {"text": "half", "error": "api_error"},
        {"calls": [REMIND], "stall_s": 20}, {"silence_s": 20},
    ],
    ids=("500", "401", "402", "404", "429", "529", "cut call", "cut words", "overloaded", "error", "stall", "silence"),
)  # fmt: skip
async def test_when_claude_fails_the_other_endpoint_answers_and_nothing_is_done_twice(
    db: Database, valkey_url: str, sandbox: Sandbox, failure: dict[str, Any]
) -> None:
    async with thinking(db, valkey_url, sandbox, first_s=0.8, silence_s=0.8) as bot:
        bot.script(*[failure] * 3)
        bot.script({"calls": [REMIND], "piece_bytes": 1, "noise": True}, provider="openai")
        began = time.monotonic()
        assert (await bot.hear("remind me to call Asha tomorrow at 9")).startswith("Done. Reminder set")
        assert time.monotonic() - began < 5
        assert await bot.count("reminder") == 1
        record = await bot.understood()
        assert (record["parser"], record["model"], record["action"]) == ("compatible", "local", "set_reminder")
        assert record["fell"][0].startswith("claude: ")


async def test_within_ten_seconds_the_local_brain_answers_where_everybody_is_silent(
    db: Database, valkey_url: str, sandbox: Sandbox
) -> None:
    async with thinking(db, valkey_url, sandbox) as bot:
        bot.script({"silence_s": 60})
        bot.script({"silence_s": 60}, provider="openai")
        began = time.monotonic()
        assert (await bot.hear("remind me to call Asha tomorrow at 9")).startswith("Done. Reminder set")
        assert 7 < time.monotonic() - began < 10
        record = await bot.understood()
        assert (record["parser"], record["fell"]) == ("rules", ["claude: silent", "compatible: silent"])


async def test_who_asks_us_to_wait_is_waited_for_or_left_alone(bot: Thinking) -> None:
    bot.script({"status": 529, "retry_after": 1}, {"text": "Hello again."})
    began = time.monotonic()
    assert await bot.hear("hello there friend") == "Hello again."
    assert 1 <= time.monotonic() - began < 3
    bot.script({"status": 429, "retry_after": 60}, {"text": "never said"})
    bot.script({"text": "Hello from elsewhere."}, {"text": "Hello again from elsewhere."}, provider="openai")
    assert await bot.hear("hello there friend") == "Hello from elsewhere."
    asked = len(bot.asked())
    assert await bot.hear("hello there friend") == "Hello again from elsewhere."
    assert len(bot.asked()) == asked


async def test_key_that_is_refused_is_told_in_the_log_and_the_local_brain_answers(
    db: Database, valkey_url: str, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    from pydantic import SecretStr

    async with thinking(db, valkey_url, sandbox, other=False, anthropic_api_key=SecretStr("sk-ant-spent")) as bot:
        assert (await bot.hear("remind me to call Asha tomorrow at 9")).startswith("Done. Reminder set")
        assert (await bot.hear("remind me to call Brian tomorrow at 9")).startswith("Done. Reminder set")
    said = capsys.readouterr().out
    assert said.count("model.refused") == 1
    assert "ANTHROPIC_API_KEY" in said
    assert "sk-ant-spent" not in said


async def test_tool_that_fails_is_said_to_fail(bot: Thinking) -> None:
    bot.script({"calls": [{"name": "get_weather", "arguments": {"city": "Atlantis-on-Sea"}}]}, {"text": "OK"})
    told = await bot.hear("weather in Atlantis-on-Sea")
    assert "Atlantis" in told
    past = {"name": "set_reminder", "arguments": {"content": "call Asha", "time": "2020-01-01T09:00"}}
    bot.script({"calls": [past]}, {"text": "I have set it."})
    told = await bot.hear("remind me to call Asha on the first of January 2020 at 9")
    assert NOT_DONE.en in told
    assert await bot.count("reminder") == 0


async def test_loop_of_the_same_call_and_too_many_calls_and_steps_end(bot: Thinking) -> None:
    bot.script(*[{"calls": [WEATHER]}] * 5)
    assert "Nairobi" in await bot.hear("weather in Nairobi")
    assert len(bot.asked()) == 2
    cities = [{"name": "get_weather", "arguments": {"city": f"Nairobi {n}"}} for n in range(40)]
    bot.script(*[{"calls": [city]} for city in cities])
    await bot.hear("weather everywhere")
    assert len(bot.asked()) == 2 + 10
    bot.script({"calls": cities[:16]}, {"text": ENOUGH})
    await bot.hear("weather everywhere at once")
    record = await bot.understood()
    assert record["steps"] <= 2


async def test_turn_that_is_tried_again_tells_what_was_done_and_does_not_think_anew(bot: Thinking) -> None:
    asha = at(WEB, "asha")
    await bot.whole.receive((asha, "remind me to call Asha tomorrow at 9"))
    bot.script({"calls": [REMIND]})
    from core.turn_answer import run_turn

    [turn] = await bot.whole.turns.claim(8)
    await run_turn(turn, bot.whole.deps)  # Answered, and the process dies before it closes.
    await bot.whole.db.pool.execute("UPDATE turn SET lease_until = clock_timestamp() - interval '1 second'")
    other = {"name": "set_reminder", "arguments": {**REMIND["arguments"], "content": "call Asha now"}}
    bot.script({"calls": [other]})
    asked = len(bot.asked())
    await bot.whole.answer()
    [told] = await bot.whole.told(asha)
    assert told.startswith("Done. Reminder set")
    assert len(bot.asked()) == asked
    assert await bot.count("reminder") == await bot.count("receipt") == 1


async def test_budget_of_a_month_is_never_passed_and_the_local_brain_goes_on(
    db: Database, valkey_url: str, sandbox: Sandbox
) -> None:
    async with thinking(db, valkey_url, sandbox, llm_tokens_month=60_000) as bot:
        bot.script(*[{"text": "Hello."}] * 40)
        told = [await bot.hear(f"hello number {n} to you") for n in range(3)]
        assert told[0] == "Hello."
        person = await bot.whole.person(at(WEB, "asha"))
        taken = await asyncio.gather(*(budget.reserve(db, person, 1_000, 60_000) for _ in range(200)))
        used = await db.pool.fetchval("SELECT tokens FROM token_use")
        assert 0 < sum(one is not None for one in taken) < 60
        assert 59_000 < used <= 60_000
        assert (await bot.hear("remind me to call Asha tomorrow at 9")).startswith("Done. Reminder set")
        assert (await bot.understood())["fell"] == ["over budget"]
        for one in taken:
            if one is not None:
                await budget.settle(db, one, 10)
        assert await db.pool.fetchval("SELECT tokens FROM token_use") < used


async def test_two_hundred_at_once_never_pass_the_cap(db: Database, valkey_url: str, sandbox: Sandbox) -> None:
    async with thinking(db, valkey_url, sandbox, other=False, llm_tokens_month=100_000) as bot:
        await bot.hear("good day to you all")
        person = await bot.whole.person(at(WEB, "asha"))
        before = len(bot.asked())
        rooms = [at(WEB, "asha", f"room:{n}") for n in range(200)]
        await bot.whole.receive(*((room, "tell me something nice") for room in rooms))
        await bot.whole.answer()
        used = await db.pool.fetchval("SELECT tokens FROM token_use WHERE person_id = $1", person)
        spent = sum(row["usage"]["input_tokens"] + row["usage"]["output_tokens"] for row in bot.asked()[before:])
        assert used <= 100_000
        assert spent <= 100_000
        assert await bot.count("turn WHERE state = 'done'") == 201


async def test_nothing_is_imported_without_a_key(scratch: object) -> None:
    import subprocess
    import sys

    words = "import sys, bot.wiring; from core.settings import Settings; from core.brain.chain import Models;"
    words += "from core.catalog import Catalog; s = Settings(_env_file=None); "
    words += "assert Models.of(s, Catalog((), s), None) is None; print('anthropic' in sys.modules)"
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", words], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
