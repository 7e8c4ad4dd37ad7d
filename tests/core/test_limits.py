"""Limits: exact over processes, a day on the person's own clock, and what happens while Valkey is away."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from core.limits import CALLS, MESSAGES, PAID, SIGN_IN, Limit, Limits, Whose, refusal, span_of, when_of

ROOT = Path(__file__).resolve().parents[2]
NAIROBI = ZoneInfo("Africa/Nairobi")
NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
ASHA = Whose("asha", NAIROBI)
PROGRAM = """
import asyncio, sys
from datetime import datetime
from zoneinfo import ZoneInfo
from redis.asyncio import Redis
from core.limits import CALLS, Limits, Whose

async def main():
    limits = Limits(Redis.from_url(sys.argv[1]))
    asha, now = Whose("asha", ZoneInfo("Africa/Nairobi")), datetime.fromisoformat(sys.argv[2])
    sys.stdin.readline()
    verdicts = await asyncio.gather(*(limits.take([CALLS], asha, now) for _ in range(250)))
    print(sum(verdict.passed for verdict in verdicts))

print("ready", flush=True)
asyncio.run(main())
"""


async def test_of_a_thousand_at_once_over_four_processes_exactly_a_hundred_pass(valkey_url: str) -> None:
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, valkey_url, NOW.isoformat(), stdin=pipe, stdout=pipe, cwd=ROOT
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout
        assert await process.stdout.readline() == b"ready\n"
    told = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    assert sum(int(out) for out, _ in told) == CALLS.count == 100


async def test_a_call_is_counted_by_all_its_limits_or_by_none(valkey_url: str) -> None:
    async with Redis.from_url(valkey_url) as valkey:
        limits = Limits(valkey)
        for _ in range(PAID.count):
            assert (await limits.take([CALLS, PAID], ASHA, NOW)).passed
        refused = await limits.take([CALLS, PAID], ASHA, NOW)
        assert (refused.passed, refused.limit) == (False, PAID)
        uses = await limits.uses(ASHA, NOW)
        assert uses is not None
        assert {use.limit.name: use.used for use in uses}["calls"] == PAID.count
        assert str(refusal(refused, NOW, NAIROBI)) == (
            "You have used all 50 requests of this kind for today. Ask again tomorrow at 00:00."
        )
        assert (await limits.take([PAID], Whose("juma", NAIROBI), NOW)).passed, "another person's quota is their own"
        assert (await limits.take([PAID], ASHA, NOW + timedelta(days=1))).passed, "a new day"


async def test_a_call_tried_again_is_decided_once(valkey_url: str) -> None:
    async with Redis.from_url(valkey_url) as valkey:
        limits = Limits(valkey)
        for _ in range(5):
            assert (await limits.take([PAID], ASHA, NOW, call="turn:1:1")).passed
        for number in range(PAID.count - 1):
            assert (await limits.take([PAID], ASHA, NOW, call=f"turn:2:{number}")).passed
        assert not (await limits.take([PAID], ASHA, NOW, call="turn:3:1")).passed
        assert (await limits.take([PAID], ASHA, NOW, call="turn:1:1")).passed, "it ran, so its answer is still told"
        assert not (await limits.take([PAID], ASHA, NOW, call="turn:3:1")).passed


async def test_a_plan_multiplies_quotas_and_no_throttle(valkey_url: str) -> None:
    async with Redis.from_url(valkey_url) as valkey:
        limits = Limits(valkey, {"pro": 5})
        assert [limits.allowed(PAID, plan) for plan in ("free", "pro", "unheard-of")] == [50, 250, 50]
        assert limits.allowed(SIGN_IN, "pro") == 10


@pytest.mark.parametrize(
    "trouble",
    [("REPLICAOF", "127.0.0.1", "1"), ("CONFIG", "SET", "maxmemory", "1")],
    ids=["read-only", "out of memory"],
)
async def test_a_valkey_that_cannot_write_is_one_that_is_away(valkey_url: str, trouble: tuple[str, ...]) -> None:
    async with Redis.from_url(valkey_url) as valkey:
        limits = Limits(valkey)
        await valkey.execute_command(*trouble)  # type: ignore[no-untyped-call]
        try:
            await _counts_alone(limits)
        finally:
            await valkey.execute_command("REPLICAOF", "NO", "ONE")  # type: ignore[no-untyped-call]
            await valkey.execute_command("CONFIG", "SET", "maxmemory", "0")  # type: ignore[no-untyped-call]
        assert (await limits.take([SIGN_IN], ASHA, NOW)).passed


async def test_without_valkey_chat_has_a_cap_of_its_own_and_signing_in_is_closed(tmp_path: Path) -> None:
    async with Redis.from_url(f"unix://{tmp_path}/none.sock") as nowhere:
        await _counts_alone(Limits(nowhere))
        assert await Limits(nowhere).uses(ASHA, NOW) is None


async def test_a_flushed_valkey_starts_windows_anew(valkey_url: str) -> None:
    async with Redis.from_url(valkey_url) as valkey:
        limits = Limits(valkey)
        verdicts = [await limits.take([SIGN_IN], ASHA, NOW) for _ in range(SIGN_IN.count + 1)]
        assert not verdicts[-1].passed
        await valkey.flushall()
        assert (await limits.take([SIGN_IN], ASHA, NOW)).passed


async def _counts_alone(limits: Limits) -> None:
    passed = [(await limits.take([PAID], ASHA, NOW)).passed for _ in range(PAID.count + 5)]
    assert sum(passed) == PAID.count
    closed = await limits.take([SIGN_IN], ASHA, NOW)
    assert (closed.passed, closed.unsure) == (False, True)


ZONES = ("Africa/Nairobi", "Europe/Berlin", "America/Sao_Paulo", "Africa/Cairo", "Asia/Beirut", "Australia/Lord_Howe",
         "Pacific/Apia", "Pacific/Kiritimati", "America/St_Johns", "UTC")  # fmt: skip
MOMENTS = st.datetimes(datetime(2011, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(now=MOMENTS, zone=st.sampled_from(ZONES), limit=st.sampled_from((MESSAGES, CALLS, SIGN_IN)))
def test_a_window_holds_its_moment_and_ends_where_the_next_begins(now: datetime, zone: str, limit: Limit) -> None:
    tz = ZoneInfo(zone)
    span = span_of(limit.window, now, tz)
    assert now < span.ends_at
    # One second is as coarse as sub-day windows and time zones are.
    assert span_of(limit.window, max(now, span.ends_at - timedelta(seconds=1)), tz).name == span.name
    after = span_of(limit.window, span.ends_at, tz)
    assert after.name != span.name
    assert after.ends_at > span.ends_at
    longest = {"day": 25 * 3600, "hour": 3600, "minute": 60}[limit.window]
    assert span.ends_at - now <= timedelta(seconds=longest)
    assert span.kept_s >= longest
    if limit.window == "day":
        assert span.name == now.astimezone(tz).date().isoformat()


def test_a_day_is_as_long_as_the_clocks_make_it() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    for day, hours in ((datetime(2026, 3, 29, tzinfo=berlin), 23), (datetime(2026, 10, 25, tzinfo=berlin), 25)):
        span = span_of("day", day, berlin)
        assert span.ends_at - day.astimezone(UTC) == timedelta(hours=hours)


def test_resets_are_told_on_the_persons_clock() -> None:
    ends_at = span_of("hour", NOW, NAIROBI).ends_at
    assert when_of(ends_at, "en", NOW, NAIROBI) == "at 13:00"
    assert when_of(span_of("day", NOW, NAIROBI).ends_at, "sw", NOW, NAIROBI) == "kesho saa 00:00"
    assert when_of(NOW + timedelta(seconds=20), "en", NOW, NAIROBI) == "in a minute"
