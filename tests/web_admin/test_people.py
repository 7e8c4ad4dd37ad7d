"""The people pages: who is found, what is shown of them, and what staff may change."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from redis.asyncio import Redis

from bot.sandbox.accounts import INTASEND_OTHER_PUBLISHABLE_KEY, INTASEND_OTHER_SECRET_KEY, INTASEND_PUBLISHABLE_KEY
from core import people
from core.db import Database
from core.limits import MESSAGES, day_key
from core.messages import ChannelName
from core.names import names_of
from core.renumber import Renumbered, renumbered
from core.settings import Settings
from tests.conftest import Sandbox
from tests.jobs.people import Known, remind
from tests.said import mailbox
from tests.web_admin.rows import Caller, say
from tests.web_admin.site import Browser, Site, running

AMINA = Caller("Amina <b>", id="whatsapp:+254712345678")


async def person_of(site: Site, caller: Caller) -> UUID:
    """Who somebody is."""
    found: UUID = await site.db.pool.fetchval(
        "SELECT person_id FROM identity WHERE provider_id = $1", caller.address.person
    )
    return found


async def audited(site: Site, verb: str) -> list[tuple[str, str]]:
    """Who did something, to what."""
    rows = await site.db.pool.fetch("SELECT actor, subject FROM audit WHERE verb = $1 ORDER BY id", verb)
    return [tuple(row) for row in rows]


async def test_an_empty_list_says_what_will_be_there(owner: Browser) -> None:
    page = await owner.get("/admin/people")
    assert page.status == 200
    assert "Nobody yet" in page.text


@pytest.mark.parametrize(
    "search", ["amina", "+254712", "0712 345 678", "0712-345-678", "AMINA@example.com", "254712345678"]
)
async def test_a_person_is_found_by_name_number_and_address(site: Site, owner: Browser, search: str) -> None:
    await say(site.db, AMINA, "the secret words")
    await say(site.db, Caller("Juma", id="whatsapp:+254799999999"), "hello")
    await site.db.pool.execute(
        "INSERT INTO identity (id, person_id, channel, account, provider_id) VALUES ($1, $2, 'email', 'us', $3)",
        uuid4(), await person_of(site, AMINA), await mailbox(site.db, "Amina@example.com"),
    )  # fmt: skip
    async with owner.session.get(f"{owner.url}/admin/people", params={"q": search}) as response:
        text = await response.text()
    assert "Amina &lt;b&gt;" in text
    assert "Juma" not in text


@pytest.mark.parametrize("search", ["secret", "%", "_", "00000", "amina%juma", "ami", "amina juma"])
async def test_nothing_else_finds_anybody(site: Site, owner: Browser, search: str) -> None:
    await say(site.db, AMINA, "the secret words")
    async with owner.session.get(f"{owner.url}/admin/people", params={"q": search}) as response:
        assert "Nobody matches" in await response.text()


async def test_a_long_list_is_read_page_by_page(site: Site, owner: Browser) -> None:
    async with site.db.hot() as connection:
        names = await names_of(connection)
        await connection.executemany(
            "INSERT INTO person (id, name, name_index, created_at)"
            " VALUES (gen_random_uuid(), $2, $3, now() - make_interval(hours => $1))",
            [(number, names.seal(f"Nr {number}"), names.index(f"Nr {number}")) for number in range(1, 61)],
        )
    first = await owner.get("/admin/people")
    assert "Nr 50<" in first.text
    assert "Nr 51<" not in first.text
    older = first.text.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
    second = await owner.get(older)
    assert "Nr 51<" in second.text
    assert "Nr 60<" in second.text
    assert "Nr 50<" not in second.text
    for wrong in ("before=x", "q=" + "x" * 101, "q=%00a"):
        assert (await owner.get(f"/admin/people?{wrong}")).status == 400, wrong


async def test_a_page_shows_everything_but_what_was_written_and_is_recorded(
    site: Site, owner: Browser, valkey_url: str
) -> None:
    conversation, _ = await say(site.db, AMINA, "the secret words")
    person = await person_of(site, AMINA)
    now = datetime.now(UTC)
    await site.db.pool.execute(
        "UPDATE person SET language = 'sw', timezone = 'Africa/Kampala', plan = 'pro', reminded_at = $2 WHERE id = $1",
        person, [now - timedelta(hours=1), now - timedelta(hours=13)],
    )  # fmt: skip
    await site.db.pool.execute("INSERT INTO opt_out (identity_id, how) SELECT id, 'word' FROM identity")
    await remind(site.db, Known(person, conversation), now + timedelta(hours=1), content="the secret medicine")
    async with Redis.from_url(valkey_url) as valkey:
        await valkey.set(day_key(MESSAGES, person, now, ZoneInfo("Africa/Kampala")), 7)
    page = await owner.get(f"/admin/people/{person}")
    assert page.status == 200
    for shown in ("Amina &lt;b&gt;", "Swahili", "Africa/Kampala", "+254712345678", "Opted out", "7 of 5,000",
                  "1 of 50", "0 of 150", "0 of 9,000", "Never muted",
                  f"/admin/conversations/{conversation}"):  # fmt: skip
        assert shown in page.text, shown
    assert "secret" not in page.text
    assert await audited(site, "person.opened") == [("staff:owner", f"person:{person}")]
    assert f"/admin/people/{person}" in (await owner.get(f"/admin/conversations/{conversation}")).text


async def test_a_page_says_so_when_nobody_counts(site: Site) -> None:
    await say(site.db, AMINA, "hello")
    async with (
        running(site.db, "redis://127.0.0.1:1") as away,
        site.staff() as owner,
    ):
        answer = await Browser(away.url, owner.session).get(f"/admin/people/{await person_of(site, AMINA)}")
    assert answer.status == 200
    assert "Valkey does not answer" in answer.text
    assert "0 of 1,800" in answer.text


async def test_a_plan_is_set_once_and_recorded_and_what_waits_is_looked_at_anew(site: Site, owner: Browser) -> None:
    conversation, _ = await say(site.db, AMINA, "hello")
    person = await person_of(site, AMINA)
    await remind(site.db, Known(person, conversation), datetime.now(UTC))
    await site.db.pool.execute("UPDATE reminder SET deferred_until = now() + interval '9 hours'")
    csrf = await owner.csrf()
    for _ in range(2):
        answer = await owner.post(f"/admin/people/{person}/plan", {"csrf": csrf, "plan": "pro"})
        assert (answer.status, answer.headers["Location"]) == (303, f"/admin/people/{person}")
    assert await site.db.pool.fetchval("SELECT plan FROM person") == "pro"
    assert await site.db.pool.fetchval("SELECT deferred_until FROM reminder") is None
    assert await audited(site, "person.plan_set") == [("staff:owner", f"person:{person}")]
    detail = await site.db.pool.fetchval("SELECT detail FROM audit WHERE verb = 'person.plan_set'")
    assert detail == {"from": "free", "to": "pro"}


async def test_a_mute_is_lifted_from_the_page(site: Site, owner: Browser) -> None:
    conversation, _ = await say(site.db, AMINA, "hello")
    person = await person_of(site, AMINA)
    await site.db.pool.execute("UPDATE person SET muted_until = now() + interval '1 day'")
    await site.db.pool.execute(
        "INSERT INTO mute (person_id, conversation_id, until, appealed_at)"
        " SELECT id, $1, muted_until, now() FROM person",
        conversation,
    )
    page = await owner.get(f"/admin/people/{person}")
    assert "Not answered until" in page.text
    assert "appealed" in page.text
    assert "Muted" in (await owner.get("/admin/people")).text
    csrf = await owner.csrf()
    for _ in range(2):
        assert (await owner.post(f"/admin/people/{person}/unmute", {"csrf": csrf})).status == 303
    assert await site.db.pool.fetchval("SELECT muted_until FROM person") is None
    assert await audited(site, "moderation.mute_lifted") == [("staff:owner", f"person:{person}")]
    assert "Not answered until" not in (await owner.get(f"/admin/people/{person}")).text


async def test_bad_requests_change_nothing(site: Site, owner: Browser) -> None:
    await say(site.db, AMINA, "hello")
    person, csrf = await person_of(site, AMINA), await owner.csrf()
    for plan in ("", "gold", "pro; DROP", "x" * 1000):
        answer = await owner.post(f"/admin/people/{person}/plan", {"csrf": csrf, "plan": plan})
        assert answer.status == 400
        assert "free, pro" in answer.text
    for path in (f"{uuid4()}/plan", "x/plan", f"{uuid4()}/unmute", "x/unmute"):
        assert (await owner.post(f"/admin/people/{path}", {"csrf": csrf, "plan": "pro"})).status == 404, path
    for path in (str(uuid4()), "x"):
        answer = await owner.get(f"/admin/people/{path}")
        assert answer.status == 404
        assert "There is no such person" in answer.text
    for path in (f"{person}/plan", f"{person}/unmute"):
        assert (await owner.post(f"/admin/people/{path}", {"csrf": "x", "plan": "pro"})).status == 403
        async with site.stranger() as stranger:
            assert (await stranger.post(f"/admin/people/{path}", {"csrf": csrf, "plan": "pro"})).status == 401
            assert (await stranger.get(f"/admin/people/{person}")).status == 401
    assert await site.db.pool.fetchval("SELECT plan FROM person") == "free"


async def test_a_joined_person_leads_to_who_they_are(site: Site, owner: Browser) -> None:
    web = Caller("Amina on the web", ChannelName.WEB)
    await say(site.db, AMINA, "hello")
    await say(site.db, web, "hello")
    kept, gone = await person_of(site, AMINA), await person_of(site, web)
    async with site.db.transaction() as session:
        await people.merge(session, kept, gone)
    answer = await owner.get(f"/admin/people/{gone}")
    assert (answer.status, answer.headers["Location"]) == (303, f"/admin/people/{kept}")
    page = await owner.get(f"/admin/people/{kept}")
    assert "1 other is part of this one" in page.text
    assert "Web" in page.text
    assert (await owner.get("/admin/people")).text.count('class="open"') == 1
    csrf = await owner.csrf()
    assert (await owner.post(f"/admin/people/{gone}/plan", {"csrf": csrf, "plan": "pro"})).status == 404


async def test_a_number_that_changed_hands_is_shown_on_its_persons_page_and_settled(site: Site, owner: Browser) -> None:
    await say(site.db, AMINA, "hello")
    await say(site.db, Caller("Juma", id="whatsapp:+254799999999"), "hello")
    other = await person_of(site, Caller("Juma", id="whatsapp:+254799999999"))
    path = f"/admin/people/{await person_of(site, AMINA)}"
    assert "changed hands" not in (await owner.get(path)).text
    ours = AMINA.address
    await renumbered(site.db, Renumbered(ours.channel, ours.account, (ours.person,), "wamid.1", "number"))
    page = (await owner.get(path)).text
    assert " changed hands, " in page
    chat = page.partition('name="chat" value="')[2].partition('"')[0]
    post = {"chat": chat, "csrf": await owner.csrf()}
    assert (await owner.post(f"{path}/renumbering", {"chat": chat, "csrf": "x"})).status == 403
    # It is nobody else's chat, and no chat at all.
    assert (await owner.post(f"/admin/people/{other}/renumbering", post)).status == 404
    assert (await owner.post(f"{path}/renumbering", {**post, "chat": "x"})).status == 404
    assert "changed hands" in (await owner.get(path)).text
    answer = await owner.post(f"{path}/renumbering", post)
    assert (answer.status, answer.headers["Location"]) == (303, path)
    assert "changed hands" not in (await owner.get(path)).text
    assert await audited(site, "renumbering.settled") == [("staff:owner", f"identity:{chat}")]


async def test_a_persons_own_account_is_kept_sealed_and_forgotten(
    db: Database, valkey_url: str, sandbox: Sandbox
) -> None:
    settings = Settings(_env_file=None, sandbox_url=sandbox.url).sandboxed()
    async with running(db, valkey_url, settings) as site, site.staff() as owner:
        await say(db, AMINA, "hello")
        person = await person_of(site, AMINA)
        path = f"/admin/people/{person}/own-account"
        page = await owner.get(f"/admin/people/{person}")
        assert "goes to this deployment&#39;s account" in page.text or "goes to this deployment's account" in page.text
        public, secret = INTASEND_OTHER_PUBLISHABLE_KEY, INTASEND_OTHER_SECRET_KEY
        token = {"csrf": await owner.csrf()}
        for keys, why in (
            (("ISPubKey_live_canary", "ISSecretKey_live_canary"), "only plays"), ((secret, public), "no keys"),
            ((public, "ISSecretKey_test_canary"), "does not take these keys"), (("x" * 200, secret), "at most 120"),
            ((INTASEND_PUBLISHABLE_KEY, secret), "own account"), (("", ""), "no keys"),
        ):  # fmt: skip
            answer = await owner.post(path, token | dict(zip(("publishable", "secret"), keys, strict=True)))
            assert answer.status == 400
            assert why in answer.text
            assert "canary" not in answer.text
        assert await db.pool.fetchval("SELECT count(*) FROM credential") == 0
        fields = {"publishable": f" {public} ", "secret": secret}
        assert (await owner.post(path, fields | {"csrf": "x"})).status == 403
        assert (await owner.post(path, fields | token)).status == 303
        page = await owner.get(f"/admin/people/{person}")
        assert public in page.text
        assert secret not in page.text
        kept = await db.pool.fetch("SELECT credential::text, encode(sealed, 'escape') FROM credential")
        assert secret not in str(kept)
        assert (await owner.post(f"{path}/forget", token)).status == 303
        assert (await owner.post(f"{path}/forget", token)).status == 404
        assert (await owner.post(f"/admin/people/{uuid4()}/own-account", fields | token)).status == 404
    assert await audited(site, "person.own_account_given") == [("staff:owner", f"person:{person}")]
    assert await audited(site, "person.own_account_forgotten") == [("staff:owner", f"person:{person}")]
