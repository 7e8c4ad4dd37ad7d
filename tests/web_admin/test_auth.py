"""Signing in and out, and what a changing request must bring."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from sqlalchemy import text

from core.db import Database
from core.settings import Settings
from tests.web_admin.site import Browser, Site, running
from web_admin.auth import new_sign_in_link


async def new_token(db: Database) -> str:
    """The secret of a fresh link."""
    return (await new_sign_in_link(db)).partition("token=")[2]


async def verbs(db: Database) -> list[str]:
    """What the audit log tells, oldest first."""
    async with db.transaction() as session:
        return list(await session.scalars(text("SELECT verb FROM audit ORDER BY id")))


async def test_a_link_signs_in_once(site: Site) -> None:
    token = await new_token(site.db)
    async with site.stranger() as first, site.stranger() as second:
        page = await first.get(f"/admin/sign-in?token={token}")
        assert page.status == 200
        assert f'name="token" value="{token}"' in page.text
        used = await first.post("/admin/sign-in", {"token": token})
        assert (used.status, used.headers["Location"]) == (303, "/admin/")
        assert (await first.get("/admin/")).status == 200
        again = await second.post("/admin/sign-in", {"token": token})
        assert again.status == 403
        assert "Set-Cookie" not in again.headers
        assert (await second.get("/admin/")).status == 401
        assert (await second.get(f"/admin/sign-in?token={token}")).status == 403


async def test_looking_at_a_link_as_previews_do_uses_nothing_up(site: Site) -> None:
    token = await new_token(site.db)
    async with site.stranger() as browser:
        for _ in range(3):
            assert (await browser.get(f"/admin/sign-in?token={token}")).status == 200
        assert (await browser.post("/admin/sign-in", {"token": token})).status == 303


async def test_of_eight_uses_at_once_one_wins(site: Site) -> None:
    token = await new_token(site.db)

    async def use() -> int:
        async with site.stranger() as browser:
            return (await browser.post("/admin/sign-in", {"token": token})).status

    statuses = await asyncio.gather(*(use() for _ in range(8)))
    assert sorted(statuses) == [303] + [403] * 7
    assert await verbs(site.db) == ["admin.signed_in"]


async def test_a_link_ends_after_its_time(site: Site) -> None:
    token = await new_token(site.db)
    async with site.db.transaction() as session:
        lives = await session.scalar(text("SELECT expires_at - created_at FROM staff_session WHERE kind = 'link'"))
        await session.execute(text("UPDATE staff_session SET expires_at = now()"))
    assert lives is not None
    assert lives.total_seconds() == 15 * 60
    async with site.stranger() as browser:
        assert (await browser.get(f"/admin/sign-in?token={token}")).status == 403
        assert (await browser.post("/admin/sign-in", {"token": token})).status == 403


async def test_a_session_ends_after_twelve_hours(site: Site, owner: Browser) -> None:
    async with site.db.transaction() as session:
        lives = await session.scalar(text("SELECT expires_at - created_at FROM staff_session WHERE kind = 'session'"))
        await session.execute(text("UPDATE staff_session SET expires_at = now() WHERE kind = 'session'"))
    assert lives is not None
    assert lives.total_seconds() == 12 * 3600
    assert (await owner.get("/admin/")).status == 401


NO_TOKENS = {
    "empty": "",
    "short": "x",
    "unknown": "a" * 43,
    "accent": "a" * 42 + "é",
    "quotes": "'" * 43,
    "long": "a" * 15_000,
    "nul": "\x00" * 43,
    "path": "../../../etc/passwd",
}


async def test_what_is_no_token_is_refused(site: Site) -> None:
    async with site.stranger() as browser:
        for name, token in NO_TOKENS.items():
            answer = await browser.post("/admin/sign-in", {"token": token})
            assert answer.status == 403, name
            assert "python3 -m bot admin-link" in answer.text
        raw = {**browser.form_headers, "Content-Type": "application/x-www-form-urlencoded"}
        for body in (b"token=%ED%A0%80", b"token=%ff%fe", b"token", b"", b"=" * 100, b"token=a&token=b"):
            async with browser.session.post(f"{site.url}/admin/sign-in", data=body, headers=raw) as response:
                assert response.status == 403, body


async def test_a_form_that_is_too_large_is_refused(site: Site) -> None:
    async with site.stranger() as browser:
        assert (await browser.post("/admin/sign-in", {"token": "a" * 70_000})).status == 413

        async def endless() -> AsyncIterator[bytes]:
            yield b"token="

        unsized = await browser.session.post(f"{site.url}/admin/sign-in", data=endless(), headers=browser.form_headers)
        assert unsized.status == 411


async def test_secrets_are_kept_only_as_hashes(site: Site) -> None:
    token = await new_token(site.db)
    async with site.stranger() as browser:
        await browser.post("/admin/sign-in", {"token": token})
        (cookie,) = browser.session.cookie_jar
        async with site.db.transaction() as session:
            rows = (
                await session.execute(text("SELECT token_hash, staff_session::text AS whole FROM staff_session"))
            ).all()
    assert len(rows) == 2
    for row in rows:
        assert len(row.token_hash) == 32
        assert token not in row.whole
        assert cookie.value not in row.whole
        assert token.encode().hex() not in row.whole


async def test_signing_in_again_ends_the_old_session_of_that_browser(site: Site, owner: Browser) -> None:
    (old,) = owner.session.cookie_jar
    await owner.post("/admin/sign-in", {"token": await new_token(site.db)})
    (new,) = owner.session.cookie_jar
    assert new.value != old.value
    async with site.stranger() as thief:
        assert (await thief.get("/admin/", Cookie=f"mathia_admin={old.value}")).status == 401
        assert (await thief.get("/admin/", Cookie=f"mathia_admin={new.value}")).status == 200


async def test_signing_out_ends_the_session_everywhere(site: Site, owner: Browser) -> None:
    (cookie,) = owner.session.cookie_jar
    answer = await owner.post("/admin/sign-out", {"csrf": await owner.csrf()})
    assert answer.status == 200
    assert "You are signed out" in answer.text
    assert not list(owner.session.cookie_jar)
    assert (await owner.get("/admin/", Cookie=f"mathia_admin={cookie.value}")).status == 401
    assert await verbs(site.db) == ["admin.signed_in", "admin.signed_out"]


async def test_a_form_needs_the_token_of_its_own_session(site: Site, owner: Browser) -> None:
    async with site.staff("amina") as other:
        strange = await other.csrf()
    for fields in ({}, {"csrf": ""}, {"csrf": "wrong"}, {"csrf": "é\x00"}, {"csrf": strange}):
        assert (await owner.post("/admin/sign-out", fields)).status == 403
    assert (await owner.get("/admin/")).status == 200


FOREIGN = {
    "cross-site": {"Sec-Fetch-Site": "cross-site"},
    "same-site": {"Sec-Fetch-Site": "same-site"},
    "other origin": {"Origin": "https://evil.example"},
    "other origin of a lying browser": {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
    "null origin": {"Origin": "null"},
    "nothing said": {},
}


async def test_what_another_site_sends_is_refused(site: Site, owner: Browser) -> None:
    csrf, token = await owner.csrf(), await new_token(site.db)
    for name, headers in FOREIGN.items():
        assert (await owner.post("/admin/sign-out", {"csrf": csrf}, headers)).status == 403, name
        assert (await owner.post("/admin/sign-in", {"token": token}, headers)).status == 403, name
    assert (await owner.get("/admin/")).status == 200
    assert (await owner.post("/admin/sign-in", {"token": token})).status == 303


async def test_an_origin_of_ours_is_enough_for_browsers_that_say_no_site(site: Site, owner: Browser) -> None:
    answer = await owner.post("/admin/sign-out", {"csrf": await owner.csrf()}, {"Origin": site.url})
    assert answer.status == 200


async def test_over_http_the_cookie_is_kept_from_scripts_and_other_paths(site: Site) -> None:
    async with site.stranger() as browser:
        cookie = (await browser.post("/admin/sign-in", {"token": await new_token(site.db)})).headers["Set-Cookie"]
    parts = {part.strip() for part in cookie.split(";")[1:]}
    assert cookie.startswith("mathia_admin=")
    assert parts == {"HttpOnly", "SameSite=Lax", "Path=/admin", "Max-Age=43200"}


async def test_over_https_the_cookie_is_bound_to_this_host_and_to_https(db: Database, valkey_url: str) -> None:
    settings = Settings(public_url="https://mathia.example")
    async with running(db, valkey_url, settings) as site, site.stranger() as browser:
        headers = {"Origin": "https://mathia.example"}
        answer = await browser.post("/admin/sign-in", {"token": await new_token(db)}, headers)
        cookie = answer.headers["Set-Cookie"]
        parts = {part.strip() for part in cookie.split(";")[1:]}
        assert cookie.startswith("__Host-mathia=")
        assert parts == {"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=43200", "Secure"}
        secret = cookie.partition("=")[2].partition(";")[0]
        assert (await browser.get("/admin/", Cookie=f"__Host-mathia={secret}")).status == 200
        assert (await browser.get("/admin/", Cookie=f"mathia_admin={secret}")).status == 401


async def test_a_link_is_no_session_and_a_session_is_no_link(site: Site, owner: Browser) -> None:
    token = await new_token(site.db)
    (cookie,) = owner.session.cookie_jar
    async with site.stranger() as browser:
        assert (await browser.get("/admin/", Cookie=f"mathia_admin={token}")).status == 401
        assert (await browser.post("/admin/sign-in", {"token": cookie.value})).status == 403


async def test_an_address_that_tries_too_often_waits_and_others_do_not(site: Site) -> None:
    async with site.stranger() as browser:
        statuses = [(await browser.post("/admin/sign-in", {"token": "x" * 43})).status for _ in range(11)]
        assert statuses == [403] * 10 + [429] or statuses == [403] * 11, "unless the minute ended meanwhile"
        for _ in range(11):
            refused = await browser.post("/admin/sign-in", {"token": "x" * 43})
        assert refused.status == 429
        assert 1 <= int(refused.headers["Retry-After"]) <= 61
        other = await browser.post("/admin/sign-in", {"token": "x" * 43}, {"X-Forwarded-For": "spoofed, 203.0.113.7"})
        assert other.status == 403


async def test_while_nobody_counts_nobody_signs_in(db: Database, tmp_path: Path) -> None:
    token = await new_token(db)
    async with running(db, f"unix://{tmp_path}/none.sock") as site, site.stranger() as browser:
        answer = await browser.post("/admin/sign-in", {"token": token})
        assert answer.status == 503
        assert "Set-Cookie" not in answer.headers
    assert await db.pool.fetchval("SELECT used_at FROM staff_session") is None
