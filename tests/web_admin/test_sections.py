"""Whatever goes wrong on a page of the admin leads back to the section that the page is in."""

from pathlib import Path
from uuid import UUID

from core.db import Database
from tests.web_admin.site import Answer, Browser, Site, running
from web_admin.sections import SECTIONS, section_of

NOBODY = str(UUID(int=0))
PATHS = [section.path for section in SECTIONS]
UNKNOWN = {
    "/admin/conversations": (f"/{NOBODY}", "/x"),
    "/admin/people": (f"/{NOBODY}", "/x", f"/{NOBODY}/erase"),
    "/admin/turns": ("/1", "/x"),
    "/admin/corrections": ("/nothing.txt",),
    "/admin/payments": ("/PAYMENT", "/%00"),
    "/admin/disputes": ("/DISPUTE",),
    "/admin/invoices": ("/INV-2026-00001", "/x.pdf"),
    "/admin/books": ("/accounts/1", "/accounts/x/statement.csv", "/entries/1", "/journal.pdf"),
    "/admin/widget": ("?site=nowhere",),
}
"""Addresses below a section that name what there is not."""
MEANINGLESS = {
    "/admin/conversations": "?channel=pigeon",
    "/admin/people": "?q=%00",
    "/admin/turns": "?before=x",
    "/admin/analytics": "?days=8",
    "/admin/replies": "?edit=1",
    "/admin/invoices": "?before=x",
    "/admin/mandates": "?before=x",
    "/admin/books": "/holds?state=lost",
}
BAD_FORMS = {
    "/admin/people": (f"/{NOBODY}/erase", 400),
    "/admin/turns": ("/1/mark", 404),
    "/admin/corrections": ("/1", 404),
    "/admin/replies": ("", 400),
    "/admin/payments": ("/switch", 400),
    "/admin/disputes": ("/DISPUTE/release", 400),
    "/admin/mandates": ("/1/end", 400),
    "/admin/books/adjustments": ("", 400),
    "/admin/fees": ("", 400),
    "/admin/moderation": ("/flags/1/dismiss", 404),
    "/admin/widget": ("", 400),
}
"""Where an empty form is sent, and how that is answered."""


def leads_to(answer: Answer, path: str) -> bool:
    """Whether this is a page whose one way leads there, and says so."""
    href, said = section_of(path).way
    return f'<a class="button" href="{href}">{said}</a>' in answer.text


def test_every_address_is_in_the_innermost_section_that_begins_it(site: Site) -> None:
    for section in SECTIONS:
        assert section_of(section.path) is section
        assert section_of(f"{section.path.rstrip('/')}/1/x") is section
        # One that only begins with the same letters is another.
        assert section_of(f"{section.path.rstrip('/')}x") is not section or section is SECTIONS[0]
    routed = {str(route.resource.canonical) for route in site.app.router.routes() if route.resource}
    own = {"/admin", "/admin/", "/admin/live", "/admin/sign-in", "/admin/sign-out", "/admin/static/{name}"}
    assert {path for path in routed if section_of(path) is SECTIONS[0]} == own
    assert set(PATHS) <= routed


async def test_the_rail_shows_the_sections_and_where_one_is(owner: Browser) -> None:
    for section in SECTIONS:
        page = await owner.get(section.path)
        assert page.status == 200, section.path
        for other in SECTIONS:
            assert (f'<li><a href="{other.path}"' in page.text) == bool(other.icon)
        if section.icon:
            assert f'<li><a href="{section.path}" aria-current="page">' in page.text


async def test_what_there_is_not_leads_to_the_list_it_would_be_in(owner: Browser) -> None:
    for path, rests in UNKNOWN.items():
        for rest in rests:
            answer = await owner.get(path + rest)
            assert answer.status == 404, path + rest
            assert f"There is no such {section_of(path).thing}" in answer.text
            assert leads_to(answer, path), path + rest


async def test_an_address_that_means_nothing_leads_to_its_section(owner: Browser) -> None:
    for path, rest in MEANINGLESS.items():
        answer = await owner.get(path + rest)
        assert answer.status == 400, path
        assert leads_to(answer, path), path
    for path in PATHS:
        answer = await owner.get(f"{path.rstrip('/')}/there/is/no/such/page")
        assert answer.status == 404, path
        assert leads_to(answer, path), path


async def test_a_form_that_cannot_be_done_leads_to_its_section(owner: Browser) -> None:
    token = await owner.csrf()
    for path, (rest, status) in BAD_FORMS.items():
        answer = await owner.post(path + rest, {"csrf": token})
        assert answer.status == status, path
        assert leads_to(answer, path), path
        answer = await owner.post(path + rest, {"csrf": "old"})
        assert answer.status == 403, path
        assert leads_to(answer, path), path
    answer = await owner.post(f"/admin/conversations/{NOBODY}/messages", {"csrf": token})
    assert answer.status == 400
    assert f'<a class="button" href="/admin/conversations/{NOBODY}">Go back to the conversation</a>' in answer.text


async def test_while_the_store_is_away_one_tries_again_or_goes_to_the_section(tmp_path: Path) -> None:
    db = await Database.connect(f"postgresql://mathia_app@/mathia?host={tmp_path}")
    cookie = f"mathia_admin={'a' * 43}"
    async with running(db, f"unix://{tmp_path}/none.sock") as site, site.stranger() as browser:
        for path in PATHS:
            answer = await browser.get(path, Cookie=cookie)
            assert answer.status == 503, path
            assert f'<a class="button" href="{path}">Try again</a>' in answer.text
            answer = await browser.post(path, {}, {**browser.form_headers, "Cookie": cookie})
            assert answer.status == 503, path
            assert leads_to(answer, path), path
    await db.close()
