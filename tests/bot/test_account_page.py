"""The account page over real HTTP: what a PIN lets through, and how little anybody else gets by guessing or waiting."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from aiohttp import web
from redis.asyncio import Redis

from bot import account
from bot.app import _add_headers
from core import account_links, people, pin, renumber
from core.catalog import Catalog
from core.db import Database
from core.limits import Limits
from core.pin import Tried
from core.providers import Providers
from core.renumber import Renumbered
from core.settings import Settings
from core.wake import Wakes
from jobs.moderation import sweep_messages
from tests.conftest import Sandbox
from tests.connectors.test_spending import AMINA, BARAKA, payments
from tests.core.speaking import WHATSAPP, Mathia, mathia
from tests.jobs.till import PAYS, Till, till
from tests.skills import needs
from tests.waiting import until

pytestmark = needs("wallet", "contacts")

PIN = "294716"
LINK = re.compile(r"http\S+/account/([\w-]{43})")


@dataclass(frozen=True)
class Served:
    """What the page is given."""

    settings: Settings
    db: Database
    limits: Limits
    catalog: Catalog
    providers: Providers


@dataclass
class Phone:
    """Amina, with KES 60,000 and Jane's number, and the browser of her phone."""

    bot: Mathia
    desk: Till
    url: str
    browser: aiohttp.ClientSession

    async def open(self, said: str) -> tuple[int, str]:
        """Open the link in a message."""
        found = LINK.search(said)
        assert found is not None, said
        return await self.post("open", token=found[1])

    async def post(self, to: str, headers: dict[str, str] | None = None, **fields: str) -> tuple[int, str]:
        """Send one of the forms."""
        origin = {"Origin": self.url, "Sec-Fetch-Site": "same-origin"} if headers is None else headers
        async with self.browser.post(f"/account/{to}", data=fields, headers=origin) as answer:
            return answer.status, await answer.text()

    async def get(self) -> tuple[int, str]:
        """The page."""
        async with self.browser.get("/account") as answer:
            return answer.status, await answer.text()

    async def choose(self, new: str = PIN, old: str = "") -> tuple[int, str]:
        """Choose a PIN."""
        return await self.post("pin", new=new, again=new, old=old)

    async def waits(self) -> str:
        """The id of what waits on the page."""
        [id_] = re.findall(
            r'action="/account/cancel">\s*<input type="hidden" name="id" value="([\w-]+)"', (await self.get())[1]
        )
        return str(id_)

    async def elsewhere(self) -> "Phone":
        """Another browser."""
        jar = aiohttp.CookieJar(unsafe=True)
        return Phone(self.bot, self.desk, self.url, aiohttp.ClientSession(self.url, cookie_jar=jar))


@pytest.fixture
async def phone(db: Database, valkey_url: str, sandbox: Sandbox) -> AsyncIterator[Phone]:
    async with mathia(db, valkey_url, sandbox_url=sandbox.url) as bot:
        await bot.hear(AMINA, f"save Jane's number +{PAYS}")
        await bot.hear(BARAKA, "hello")
        async with till(db, Settings(_env_file=None, sandbox_url=sandbox.url).sandboxed()) as desk:
            desk.owner = str(await bot.person(AMINA))
            await desk.fund(60_000)
            valkey = Redis.from_url(valkey_url)
            app = web.Application()
            served = Served(bot.deps.settings, db, Limits(valkey), bot.deps.catalog, bot.deps.providers)
            app.add_routes(account.routes(served))
            app.on_response_prepare.append(_add_headers)
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            async with aiohttp.ClientSession(url, cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
                yield Phone(bot, desk, url, browser)
            await runner.cleanup()
            await valkey.aclose()


async def test_a_large_payment_is_confirmed_with_the_pin_and_shown_word_for_word(phone: Phone) -> None:
    prompt = await phone.bot.hear(AMINA, "send KES 25,000 to Jane")
    assert "This is confirmed with your PIN" in prompt
    await phone.bot.hear(AMINA, "00000")
    await phone.bot.hear(AMINA, "yes")
    status, page = await phone.open(prompt)
    assert status == 200
    assert prompt.partition("\n\n")[0] in page
    assert "Choose a PIN below first" in page
    assert (await phone.post("confirm", id=await phone.waits(), pin=PIN))[0] == 422
    assert "Your PIN is saved." in (await phone.choose())[1]
    assert (await phone.bot.told(AMINA))[-1].startswith("The PIN of your account was set")
    waiting = await phone.waits()
    assert "not your PIN" in (await phone.post("confirm", id=waiting, pin="294717"))[1]
    assert await payments(phone.bot) == (0, 0)
    status, page = await phone.post("confirm", id=waiting, pin=PIN)
    assert f"KES 25,000.00 to Jane +{PAYS} are on their way" in page
    assert "are on their way" in (await phone.bot.told(AMINA))[-1]
    assert "does not wait any more" in (await phone.post("confirm", id=waiting, pin=PIN))[1]
    assert await payments(phone.bot) == (1, 0)
    assert await phone.desk.purse() == (6_000_000, 2_500_000)


async def test_of_many_forms_sent_at_once_one_pays(phone: Phone) -> None:
    await phone.open(await phone.bot.hear(AMINA, "send KES 25,000 to 0712000002"))
    await phone.choose()
    waiting = await phone.waits()
    await asyncio.gather(*(phone.post("confirm", id=waiting, pin=PIN) for _ in range(6)))
    assert await payments(phone.bot) == (0, 1)


async def test_limits_pause_and_what_was_taken_back_are_looked_at_again(phone: Phone) -> None:
    await phone.open(await phone.bot.hear(AMINA, "send KES 25,000 to Jane"))
    await phone.choose()
    waiting = await phone.waits()
    await phone.bot.hear(AMINA, "set my payment limit to 24,999")
    assert "At most KES 24,999.00" in (await phone.post("confirm", id=waiting, pin=PIN))[1]
    assert "does not wait any more" in (await phone.post("confirm", id=waiting, pin=PIN))[1]
    await phone.bot.hear(AMINA, "send KES 21,000 to Jane")
    waiting = await phone.waits()
    await phone.bot.hear(AMINA, "pause my payments")
    assert "You have stopped your payments." in (await phone.post("confirm", id=waiting, pin=PIN))[1]
    await phone.bot.hear(AMINA, "resume my payments")
    assert await payments(phone.bot) == (0, 0)
    assert await phone.desk.purse() == (6_000_000, 0)


async def test_it_is_taken_back_in_the_chat_or_on_the_page(phone: Phone) -> None:
    await phone.open(await phone.bot.hear(AMINA, "send KES 25,000 to Jane"))
    await phone.choose()
    waiting = await phone.waits()
    assert await phone.bot.hear(AMINA, "cancel") == "All right. Nothing has happened."
    assert "does not wait any more" in (await phone.post("confirm", id=waiting, pin=PIN))[1]
    await phone.bot.hear(AMINA, "send KES 25,000 to Jane")
    assert "Nothing was paid" in (await phone.post("cancel", id=await phone.waits()))[1]
    assert await payments(phone.bot) == (0, 0)


async def test_a_link_opens_once_and_in_one_browser(phone: Phone) -> None:
    said = await phone.bot.hear(AMINA, "open my account page")
    other = await phone.elsewhere()
    async with other.browser:
        token = LINK.search(said)
        assert token is not None
        for _ in range(2):  # A preview uses nothing up.
            async with phone.browser.get(f"/account/{token[1]}") as answer:
                assert answer.status == 200
                assert "script" not in await answer.text()
                assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
                assert answer.headers["Cache-Control"] == "no-store"
        opened = await asyncio.gather(phone.open(said), other.open(said))
        assert sorted(status for status, _ in opened) == [200, 404]
        assert sorted([(await phone.get())[0], (await other.get())[0]]) == [200, 404]
        assert (await other.post("pin", new=PIN, again=PIN, headers={"Origin": "https://evil.example"}))[0] == 403
        assert (await other.open(said.replace(token[1], "A" * 43)))[0] == 404
    await phone.bot.db.pool.execute("UPDATE account_link SET expires_at = now()")
    assert (await phone.get())[0] == 404
    assert (await phone.choose())[0] == 404


async def test_limits_are_raised_with_the_pin_and_not_beyond_staffs(phone: Phone) -> None:
    await phone.bot.hear(AMINA, "set my daily limit to 1000")
    await phone.open(await phone.bot.hear(AMINA, "my account page"))
    assert "no PIN yet" in (await phone.post("limits", per="day", amount="2000", pin=PIN))[1]
    await phone.choose()
    for fields, said in (
        ({"per": "day", "amount": "2000", "pin": "111111"}, "not your PIN"),
        ({"per": "week", "amount": "2000", "pin": PIN}, "Choose which limit"),
        ({"per": "day", "amount": "some", "pin": PIN}, "That did not work"),
        ({"per": "day", "amount": "50001", "pin": PIN}, "at most KES 50,000.00"),
    ):
        status, page = await phone.post("limits", None, **fields)
        assert (status, said in page) == (422, True), fields
    assert "KES 2,000.00 goes out within a day" in (await phone.post("limits", per="day", amount="2k", pin=PIN))[1]
    assert "A limit was set with your PIN" in (await phone.bot.told(AMINA))[-1]
    assert "KES 2,000.00" in await phone.bot.hear(AMINA, "my payment limits")


async def test_guessing_is_counted_locks_and_is_told(phone: Phone) -> None:
    await phone.open(await phone.bot.hear(AMINA, "my account page"))
    await phone.choose()
    person, now = await phone.bot.person(AMINA), datetime.now(UTC)
    tried = await asyncio.gather(*(pin.check(phone.bot.db, person, f"{n:06}", now) for n in range(12)))
    assert sum(one in (Tried.WRONG, Tried.NOW_LOCKED) for one in tried) == pin.TRIES_MAX
    assert await pin.check(phone.bot.db, person, PIN, now) is Tried.LOCKED
    later = now + timedelta(hours=1, seconds=1)
    assert await pin.check(phone.bot.db, person, "000000", later) is Tried.NOW_LOCKED
    assert await pin.check(phone.bot.db, person, PIN, later + timedelta(hours=1)) is Tried.LOCKED
    assert await pin.check(phone.bot.db, person, PIN, later + timedelta(hours=2)) is Tried.RIGHT
    for _ in range(pin.TRIES_MAX):
        _, page = await phone.choose("305827", old="000000")
    assert "too many wrong PINs" in page
    assert (await phone.bot.told(AMINA))[-1].startswith("Somebody typed wrong PINs")
    assert PIN.encode() not in await phone.bot.db.pool.fetchval("SELECT pin_hash FROM person WHERE id = $1", person)


async def test_who_forgot_it_waits_a_day_in_which_the_chat_can_call_it_off(phone: Phone) -> None:
    await phone.open(await phone.bot.hear(AMINA, "I forgot my PIN"))
    await phone.choose()
    assert "another PIN can be chosen here" in (await phone.post("forgot"))[1]
    assert (await phone.bot.told(AMINA))[-1].startswith("Somebody said on your account page to have forgotten")
    assert "not your PIN" in (await phone.choose("305827"))[1]
    assert (await phone.bot.hear(AMINA, "cancel the PIN reset")).startswith("Done. Your PIN stays")
    assert await phone.bot.hear(AMINA, "cancel the PIN reset") == "Nobody has asked for another PIN."
    await phone.post("forgot")
    await phone.bot.db.pool.execute("UPDATE person SET pin_reset_at = now()")
    assert "Your PIN is saved." in (await phone.choose("305827"))[1]
    assert await pin.check(phone.bot.db, await phone.bot.person(AMINA), "305827", datetime.now(UTC)) is Tried.RIGHT


@pytest.mark.parametrize(
    ("new", "again", "said"),
    [("12345", "12345", "six digits"), ("２94716", "２94716", "six digits"), ("294716", "294717", "two are different"),
     ("123456", "123456", "guessed first"), ("000001", "000001", "guessed first")],
)  # fmt: skip
async def test_what_is_no_good_pin_is_refused(phone: Phone, new: str, again: str, said: str) -> None:
    await phone.open(await phone.bot.hear(AMINA, "ukurasa wa akaunti yangu"))
    await phone.bot.hear(AMINA, "speak English")
    status, page = await phone.post("pin", new=new, again=again)
    assert (status, said in page) == (422, True)
    assert await phone.bot.db.pool.fetchval("SELECT pin_hash FROM person WHERE pin_hash IS NOT NULL") is None


@pytest.mark.parametrize(
    "guessed",
    ["111111", "121212", "123456", "890123", "987654", "123123", "123321", "112233", "147258"],
)  # fmt: skip
def test_trivial_pins_are_known(guessed: str) -> None:
    assert pin.is_trivial(guessed)
    assert pin.is_trivial("294716", "+254712294716")
    assert not pin.is_trivial(PIN, "+254712000001")


async def test_the_page_is_closed_while_the_number_may_be_somebody_elses(phone: Phone) -> None:
    await phone.open(await phone.bot.hear(AMINA, "my account page"))
    await renumber.renumbered(phone.bot.db, Renumbered(WHATSAPP, "ours", (AMINA.person,), "wamid.1", "number"))
    assert (await phone.choose())[0] == 404
    assert LINK.search(await phone.bot.hear(AMINA, "my account page")) is None
    assert await phone.bot.db.pool.fetchval("SELECT count(*) FROM person WHERE pin_hash IS NOT NULL") == 0


async def test_whoever_becomes_another_person_loses_the_page_and_keeps_a_pin(phone: Phone) -> None:
    await phone.open(await phone.bot.hear(AMINA, "my account page"))
    await phone.choose()
    async with phone.bot.db.transaction() as session:
        kept, gone = await phone.bot.person(BARAKA), await phone.bot.person(AMINA)
        await people.merge(session, kept, gone)
    assert (await phone.get())[0] == 404
    assert await pin.check(phone.bot.db, kept, PIN, datetime.now(UTC)) is Tried.RIGHT


async def test_links_that_ended_an_hour_ago_are_swept_and_a_page_that_is_open_stays(phone: Phone) -> None:
    db = phone.bot.db
    for _ in range(3):
        said = await phone.bot.hear(AMINA, "open my account page")
    await phone.bot.hear(BARAKA, "open my account page")
    assert (await phone.open(said))[0] == 200
    ended = "UPDATE account_link SET expires_at = now() - $1::interval WHERE opened_at IS NULL AND person_id = $2"
    await db.pool.execute(ended, account_links.LINKS_WITHIN - timedelta(minutes=1), await phone.bot.person(BARAKA))
    await db.pool.execute(ended, account_links.LINKS_WITHIN, await phone.bot.person(AMINA))
    settings = Settings(_env_file=None)
    sweep = asyncio.create_task(sweep_messages(db, Wakes(db), phone.bot.deps.providers, settings))

    async def are_swept() -> bool:
        return bool(await db.pool.fetchval("SELECT count(*) = 2 FROM account_link"))

    await until(are_swept, what="old links being swept")
    sweep.cancel()
    assert (await phone.get())[0] == 200
