"""Staff at work: taking over, handing back, writing, notes, canned replies, and what each of them sees."""

import asyncio
import re
from collections.abc import Mapping
from uuid import UUID, uuid4

import pytest

from core.handoff import Asked
from core.handoff_store import Handoffs
from core.messages import ChannelName
from core.renumber import Renumbered, renumbered
from core.settings import Settings
from core.wake import Wakes
from tests.web_admin.rows import Caller, delivered, say
from tests.web_admin.site import Answer, Browser, Site
from tests.web_admin.test_live import renewed

AMINA = Caller("Amina")
HOSTILE = '<script>alert(1)</script>"\'><hx-partial hx-target="#main">'


def nonce_of(page: Answer) -> str:
    found = re.search(r'name="nonce" value="([0-9a-f]{32})"', page.text)
    assert found
    return found[1]


async def act(browser: Browser, conversation: UUID, act: str) -> Answer:
    fields = {"csrf": await browser.csrf(), "act": act}
    return await browser.post(f"/admin/conversations/{conversation}/handoff", fields)


async def write(browser: Browser, conversation: UUID, words: str, act: str = "send", **more: str) -> Answer:
    page = await browser.get(f"/admin/conversations/{conversation}")
    fields = {"csrf": await browser.csrf(), "nonce": nonce_of(page), "act": act, "text": words} | more
    return await browser.post(f"/admin/conversations/{conversation}/messages", fields)


async def rows(site: Site, sql: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in await site.db.pool.fetch(sql)]


async def wait_for_human(site: Site, conversation: UUID) -> None:
    handoffs = Handoffs(site.db, Wakes(site.db), Settings(_env_file=None))
    await handoffs.apply(conversation, Asked(), "person:1")


async def test_taking_over_writing_and_handing_back(site: Site, owner: Browser) -> None:
    conversation, _ = await say(site.db, AMINA, "price?")
    path = f"/admin/conversations/{conversation}"
    assert "Mathia answers" in (await owner.get(path)).text
    answer = await act(owner, conversation, "take_over")
    assert (answer.status, answer.headers["Location"]) == (303, path)
    assert "You have this conversation" in (await owner.get(path)).text
    assert (await write(owner, conversation, "It is 100.\r\nShall I keep one?")).status == 303
    page = (await owner.get(path)).text
    assert "It is 100.\nShall I keep one?" in page
    assert "<bdi>owner</bdi> <time" in page
    assert (await act(owner, conversation, "hand_back")).status == 303
    assert "You are talking to Mathia again." in (await owner.get(path)).text
    assert await rows(site, "SELECT kind FROM outbox ORDER BY id") == [("staff",), ("handoff",)]
    assert await rows(site, "SELECT state FROM turn") == [("done",)]
    verbs = "SELECT actor, verb FROM audit WHERE verb LIKE 'handoff.%' ORDER BY id"
    assert await rows(site, verbs) == [
        ("staff:owner", "handoff.taken_over"),
        ("staff:owner", "handoff.said"),
        ("staff:owner", "handoff.handed_back"),
    ]


async def test_a_double_submit_sends_once(site: Site, owner: Browser) -> None:
    conversation, _ = await say(site.db, AMINA, "price?")
    page = await owner.get(f"/admin/conversations/{conversation}")
    fields = {"csrf": await owner.csrf(), "nonce": nonce_of(page), "act": "send", "text": "100"}
    path = f"/admin/conversations/{conversation}/messages"
    answers = await asyncio.gather(*(owner.post(path, fields) for _ in range(6)))
    assert {answer.status for answer in answers} == {303}
    notes = await asyncio.gather(*(owner.post(path, fields | {"act": "note"}) for _ in range(6)))
    assert {answer.status for answer in notes} == {303}
    assert await rows(site, "SELECT count(*) FROM outbox") == [(1,)]
    assert await rows(site, "SELECT count(*) FROM note") == [(1,)]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"text": "  \r\n "}, "Write something first"),
        ({"text": "x" * 4_001}, "at most 4,000"),
        ({"text": "a\0b"}, "cannot be stored"),
        ({"nonce": "1"}, "not whole"),
    ],
    ids=["empty", "long", "nul", "nonce"],
)
async def test_a_bad_form_changes_nothing(site: Site, owner: Browser, fields: Mapping[str, str], says: str) -> None:
    conversation, _ = await say(site.db, AMINA, "price?")
    answer = await write(owner, conversation, "hello", **fields)
    assert answer.status == 400
    assert says in answer.text
    assert f"/admin/conversations/{conversation}" in answer.text
    assert (await act(owner, conversation, "burn")).status == 400
    assert (await write(owner, conversation, "hello", "shout")).status == 400
    assert await rows(site, "SELECT count(*) FROM outbox") == [(0,)]
    assert await rows(site, "SELECT mode FROM conversation") == [("bot",)]


async def test_no_form_works_without_its_token_or_for_a_stranger(site: Site, owner: Browser) -> None:
    conversation, _ = await say(site.db, AMINA, "price?")
    paths = [f"/admin/conversations/{conversation}/{name}" for name in ("handoff", "messages")] + ["/admin/replies"]
    async with site.stranger() as stranger:
        for path in paths:
            assert (await owner.post(path, {"act": "take_over", "text": "x", "nonce": "a" * 32})).status == 403
            assert (await stranger.post(path, {"act": "take_over"})).status == 401
    assert (await act(owner, uuid4(), "take_over")).status == 404
    assert await rows(site, "SELECT mode FROM conversation") == [("bot",)]


async def test_two_of_the_staff_see_who_has_it_and_take_it_from_one_another(site: Site, owner: Browser) -> None:
    conversation, _ = await say(site.db, AMINA, "price?")
    await act(owner, conversation, "take_over")
    async with site.staff("baraka") as baraka:
        page = await baraka.get(f"/admin/conversations/{conversation}")
        assert "<bdi>owner</bdi> has this conversation" in page.text
        assert "Take over from" in page.text
        assert (await act(baraka, conversation, "hand_back")).status == 409
        assert (await write(baraka, conversation, "I know the price: 100.")).status == 303
        assert await rows(site, "SELECT holder FROM conversation") == [("baraka",)]
    assert (await act(owner, conversation, "hand_back")).status == 409
    sql = "SELECT detail FROM audit WHERE verb = 'handoff.taken_over' ORDER BY id DESC LIMIT 1"
    assert await rows(site, sql) == [({"from": "owner", "to": "baraka"},)]


async def test_a_note_is_seen_by_staff_and_sent_to_nobody(site: Site, owner: Browser) -> None:
    conversation, _ = await say(site.db, AMINA, "price?")
    await write(owner, conversation, f"VIP {HOSTILE}", "note")
    page = (await owner.get(f"/admin/conversations/{conversation}")).text
    assert "Note, not sent" in page
    assert HOSTILE not in page
    assert page.index("price?") < page.index("VIP")
    assert await rows(site, "SELECT count(*) FROM outbox") == [(0,)]
    assert await rows(site, "SELECT count(*) FROM message") == [(1,)]
    assert await rows(site, "SELECT mode FROM conversation") == [("bot",)]


async def test_a_refused_message_says_why(site: Site, owner: Browser) -> None:
    conversation, _ = await say(site.db, AMINA, "price?")
    await write(owner, conversation, "It is 100.")
    await delivered(site.db, conversation, 2, "refused", error="Outside the 24-hour window.")
    page = (await owner.get(f"/admin/conversations/{conversation}")).text
    assert "Refused" in page
    assert "Outside the 24-hour window." in page


async def test_the_filters_count_and_show(site: Site, owner: Browser) -> None:
    waiting, _ = await say(site.db, AMINA, "talk to a human")
    await wait_for_human(site, waiting)
    mine, _ = await say(site.db, Caller("Baraka", ChannelName.WEB), "hello")
    await act(owner, mine, "take_over")
    await say(site.db, Caller("Chiku"), "hello")
    everybody = (await owner.get("/admin/conversations")).text
    assert re.search(r'Waiting <span class="badge wait">1<', everybody)
    assert re.search(r'Mine <span class="badge">1<', everybody)
    assert "Waits for a human" in everybody
    for show, name in (("waiting", "Amina"), ("mine", "Baraka")):
        page = (await owner.get(f"/admin/conversations?show={show}")).text
        assert re.findall(r'class="open"[^>]*><bdi>(\w+)<', page) == [name]
    async with site.staff("zawadi") as zawadi:
        assert "You hold no conversation" in (await zawadi.get("/admin/conversations?show=mine")).text
    assert "1 person waits for a human." in (await owner.get("/admin/")).text
    assert (await owner.get("/admin/conversations?show=nonsense")).status == 400


async def test_who_has_it_is_live(site: Site, owner: Browser) -> None:
    conversation, _ = await say(site.db, AMINA, "price?")
    path = await owner.stream_of(f"/admin/conversations/{conversation}")
    async with owner.follow(path) as stream, site.staff("baraka") as baraka:
        await act(baraka, conversation, "take_over")
        assert "<bdi>baraka</bdi> has this conversation" in (await renewed(stream, "handoff")).data
        await write(baraka, conversation, "careful with this one", "note")
        assert "careful with this one" in (await renewed(stream, "thread")).data


async def test_an_open_page_keeps_the_hold_of_who_has_it(site: Site, owner: Browser) -> None:
    conversation, _ = await say(site.db, AMINA, "price?")
    await act(owner, conversation, "take_over")
    soon = "UPDATE conversation SET held_until = clock_timestamp() + interval '1 minute'"
    left = "SELECT held_until > clock_timestamp() + interval '20 minutes' FROM conversation"
    await site.db.pool.execute(soon)
    async with site.staff("baraka") as baraka:
        path = f"/admin/conversations/{conversation}/live"
        async with baraka.follow(path) as stream:
            await stream.next()
            assert await rows(site, left) == [(False,)]
        async with owner.follow(path) as stream:
            await stream.next()
            assert await rows(site, left) == [(True,)]


async def test_canned_replies_are_added_changed_deleted_and_offered(site: Site, owner: Browser) -> None:
    csrf = {"csrf": await owner.csrf()}
    hours = {"shortcut": "Hours", "text": "We are open from 8 to 5.", "act": "save", **csrf}
    assert (await owner.post("/admin/replies", hours)).status == 303
    assert (await owner.post("/admin/replies", hours)).status == 400
    assert (await owner.post("/admin/replies", hours | {"shortcut": "two words"})).status == 400
    assert (await owner.post("/admin/replies", hours | {"shortcut": "other", "text": " "})).status == 400
    [(number,)] = await rows(site, "SELECT id FROM canned_reply")
    assert "We are open from 8 to 5." in (await owner.get(f"/admin/replies?edit={number}")).text
    changed = hours | {"id": str(number), "text": f"From 9. {HOSTILE}"}
    assert (await owner.post("/admin/replies", changed)).status == 303
    conversation, _ = await say(site.db, AMINA, "when are you open?")
    page = (await owner.get(f"/admin/conversations/{conversation}")).text
    assert re.search(r'<option value="From 9\.[^"]*">hours</option>', page)
    assert HOSTILE not in page
    assert (await owner.post("/admin/replies", {"id": str(number), "act": "delete", **csrf})).status == 303
    assert "None yet." in (await owner.get("/admin/replies")).text
    assert (await owner.get("/admin/replies?edit=7")).status == 400


async def test_a_number_that_changed_hands_is_shown_and_settled_by_staff(site: Site, owner: Browser) -> None:
    conversation, _ = await say(site.db, Caller("Amina", id="254712345678"), "hello")
    path = f"/admin/conversations/{conversation}"
    assert "changed hands" not in (await owner.get(path)).text
    news = Renumbered(ChannelName.WHATSAPP, "ours", ("254712345678",), "wamid.1", "number")
    await renumbered(site.db, news)
    assert "This number changed hands, " in (await owner.get(path)).text
    refused = await owner.post(f"{path}/renumbering", {"csrf": "x"})
    assert refused.status == 403
    answer = await owner.post(f"{path}/renumbering", {"csrf": await owner.csrf()})
    assert (answer.status, answer.headers["Location"]) == (303, path)
    assert "changed hands" not in (await owner.get(path)).text
    assert (await owner.post(f"{path}/renumbering", {"csrf": await owner.csrf()})).status == 303
    assert await rows(site, "SELECT ended_by FROM renumbering") == [("staff:owner",)]
    said = "SELECT actor, verb FROM audit WHERE verb LIKE '%renumber%' ORDER BY id"
    assert await rows(site, said) == [
        ("provider:whatsapp", "identity.renumbered"),
        ("staff:owner", "renumbering.settled"),
    ]
    gone = await owner.post(f"/admin/conversations/{uuid4()}/renumbering", {"csrf": await owner.csrf()})
    assert gone.status == 404
