"""Mandates in the admin: what workflows may pay and paid, and one that staff end, which its person reads."""

import pytest

from ledger.mandates import NoMandate
from tests.jobs.people import said, someone
from tests.web_admin.rows import workflow
from tests.web_admin.site import Browser, Site


async def test_what_workflows_may_pay_is_listed_and_one_is_ended_at_once(site: Site, owner: Browser) -> None:
    assert "No workflow may pay by itself yet" in (await owner.get("/admin/mandates")).text
    who = await someone(site.db)
    flow = await workflow(site.db, who, "<b>Rent</b>")
    await flow.grant(10_000, 30_000, 100_000)
    await flow.use("first", 2_500)
    made = await flow.grant(20_000, 30_000, 100_000)
    await flow.use("second", 4_000)
    text = (await owner.get("/admin/mandates")).text
    for words in (
        "&lt;b&gt;Rent&lt;/b&gt;", ">Asha</a>", f'href="/admin/people/{who.person_id}"', "2 payees",
        "KES 200.00", "KES 40.00", "of KES 300.00", "of KES 1,000.00", "Pays", "Ended", "KES 25.00",
    ):  # fmt: skip
        assert words in text
    assert text.count("/end\"") == 1
    end, form = f"/admin/mandates/{made.id}/end", {"csrf": await owner.csrf(), "note": "they asked <i>us</i>"}
    for path, change, status in (
        (end, {"note": " "}, 400), (end, {"csrf": "x"}, 403), ("/admin/mandates/999/end", {}, 404),
        ("/admin/mandates/x/end", {}, 404), (f"/admin/mandates/{made.id - 1}/end", {}, 400),
    ):  # fmt: skip
        assert (await owner.post(path, form | change)).status == status
    assert (await owner.post(end, form)).status == 303
    assert (await owner.post(end, form)).status == 400
    text = (await owner.get("/admin/mandates")).text
    assert "/end\"" not in text
    with pytest.raises(NoMandate):
        await flow.use("third", 1)
    [told] = await said(site.db, who.conversation_id)
    assert told.startswith("What “<b>Rent</b>” may pay by itself was ended")
    rows = await site.db.pool.fetch("SELECT actor, verb, subject FROM audit WHERE verb ~ '^mandate'")
    assert [tuple(row) for row in rows] == [("staff:owner", "mandate.ended", f"mandate:{made.id}")]
    assert (await owner.get(f"/admin/mandates?before={made.id - 1}")).text.count("There are no older ones") == 1


async def test_nobody_else_sees_or_ends_them(site: Site) -> None:
    async with site.stranger() as stranger:
        assert (await stranger.get("/admin/mandates")).status == 401
