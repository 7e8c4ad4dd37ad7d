"""The moderation queue: who is muted, what was flagged, and what staff decide."""

import re
from uuid import UUID

from core.db import Database
from tests.web_admin.rows import Caller, say
from tests.web_admin.site import Browser, Site


async def _flagged(db: Database) -> tuple[UUID, int, int]:
    """A flagged message of somebody who is muted: their conversation, the message, the mute."""
    conversation, _ = await say(db, Caller("Juma <b>"), "the secret words")
    message = await db.pool.fetchval("SELECT id FROM message")
    await db.pool.execute(
        "INSERT INTO moderation_flag (message_id, label, score, judge, person_id)"
        " SELECT $1, l, 0.97, 'toxic-bert', id FROM person, unnest(ARRAY['insult', 'identity_hate']) l",
        message,
    )
    await db.pool.execute("UPDATE person SET muted_until = now() + interval '1 day'")
    mute = await db.pool.fetchval(
        "INSERT INTO mute (person_id, conversation_id, until, appealed_at)"
        " SELECT id, $1, muted_until, now() FROM person RETURNING id",
        conversation,
    )
    return conversation, message, mute


async def test_an_empty_queue_says_so(owner: Browser) -> None:
    page = await owner.get("/admin/moderation")
    assert page.status == 200
    assert "Nobody is muted" in page.text
    assert "No message is flagged" in page.text


async def test_staff_see_without_the_text_and_decide(site: Site, owner: Browser) -> None:
    conversation, message, mute = await _flagged(site.db)
    page = await owner.get("/admin/moderation")
    assert "identity hate, insult" in page.text
    assert "Juma &lt;b&gt;" in page.text
    assert "toxic-bert" in page.text
    assert "Appealed" in page.text
    assert "secret words" not in page.text
    assert f"/admin/conversations/{conversation}?upto=1" in page.text
    csrf = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert csrf
    for path in (f"flags/{message}/dismiss", f"mutes/{mute}/lift"):
        for _ in range(2):
            assert (await owner.post(f"/admin/moderation/{path}", {"csrf": csrf[1]})).status == 303
    page = await owner.get("/admin/moderation")
    assert "Nobody is muted" in page.text
    assert "No message is flagged" in page.text
    assert await site.db.pool.fetchval("SELECT muted_until FROM person") is None
    rows = await site.db.pool.fetch("SELECT actor, verb, subject FROM audit WHERE verb LIKE 'moderation.%' ORDER BY id")
    person = await site.db.pool.fetchval("SELECT id FROM person")
    assert [tuple(row) for row in rows] == [
        ("staff:owner", "moderation.flag_dismissed", f"message:{message}"),
        ("staff:owner", "moderation.mute_lifted", f"person:{person}"),
    ]


async def test_what_is_not_there_cannot_be_decided_on_and_strangers_cannot(site: Site, owner: Browser) -> None:
    _, message, mute = await _flagged(site.db)
    page = await owner.get("/admin/moderation")
    csrf = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert csrf
    for path in ("flags/0/dismiss", "flags/x/dismiss", f"flags/{'9' * 30}/dismiss", "mutes/0/lift", "mutes/-1/lift"):
        assert (await owner.post(f"/admin/moderation/{path}", {"csrf": csrf[1]})).status == 404, path
    for path in (f"flags/{message}/dismiss", f"mutes/{mute}/lift"):
        assert (await owner.post(f"/admin/moderation/{path}", {"csrf": "x"})).status == 403
        async with site.stranger() as stranger:
            assert (await stranger.post(f"/admin/moderation/{path}", {"csrf": csrf[1]})).status == 401
    assert await site.db.pool.fetchval("SELECT muted_until FROM person") is not None
