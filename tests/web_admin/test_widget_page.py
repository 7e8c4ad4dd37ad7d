"""The admin's page of sites: what the owner deletes, and what it takes to delete it."""

from core import sites
from core.sites import Draft
from tests.web_admin.site import Browser, Site
from tests.web_admin.test_auth import verbs


async def test_a_site_is_deleted_by_typing_its_name(site: Site, owner: Browser) -> None:
    draft = Draft.parse({"name": "Duka  la Asha", "title": "Duka", "colour": "#0b6b4f", "position": "right"})
    async with site.db.transaction() as session:
        key = await sites.create_site(session, draft)
    page = await owner.get(f"/admin/widget?site={key}")
    assert "Type its name, Duka la Asha" in page.text
    assert "Delete this site" not in (await owner.get("/admin/widget")).text
    form = {"csrf": await owner.csrf(), "key": key, "act": "delete"}
    for wrong in ("", "duka la asha", "Duka"):
        refused = await owner.post("/admin/widget", form | {"confirm": wrong})
        assert refused.status == 400
        assert "Nothing was deleted" in refused.text
    assert await sites.find_site(site.db, key) is not None
    done = await owner.post("/admin/widget", form | {"confirm": "Duka la Asha "})
    assert done.status in (200, 303)
    assert await sites.find_site(site.db, key) is None
    assert (await verbs(site.db))[-1] == "site.deleted"
    assert (await owner.post("/admin/widget", form | {"confirm": "Duka la Asha"})).status == 404
    default = await owner.post("/admin/widget", form | {"key": "default", "confirm": "Default"})
    assert default.status == 400
    assert await sites.find_site(site.db, "default") is not None
