"""The widget's page: the sites that embed it, how it looks there, the line to paste, and the identity secrets."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime

from markupsafe import Markup

from core import audit, sites
from core.colours import palette
from core.crypto import KeysMissing
from core.db import Database
from core.errors import UserError
from core.people import one_line
from core.settings import Settings
from core.sites import DEFAULT, Draft, Look
from web_admin import auth
from web_admin.rendering import Templates

HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")
NEW = "new"
"""What stands for a site's key before it has one."""
BLANK = Look("", "", "Mathia", "#0b6b4f", "right", {}, ())


class Widget:
    """Reads and renders the page, and does what the owner asks for."""

    def __init__(self, db: Database, settings: Settings, templates: Templates, now: Callable[[], datetime]) -> None:
        self._db, self._settings, self._templates, self._now = db, settings, templates, now

    async def page(self, staff: auth.Staff, key: str | None, host: str, *, secret: str | None = None) -> Markup:
        """The page with one site chosen, the default one unless named; raises LookupError for one there is not."""
        async with self._db.transaction() as session:
            all_sites = await sites.all_sites(session)
            wanted = key or DEFAULT
            chosen = BLANK if wanted == NEW else next((one for one in all_sites if one.key == wanted), None)
            if chosen is None:
                raise LookupError
            held = await sites.secrets_of(session, chosen.key, self._now())
        return self._templates.render(
            "widget.html", section="widget", staff=staff, sites=all_sites, chosen=chosen, held=held, secret=secret,
            snippet=self._snippet(chosen.key, host), colours=palette(chosen.colour),
        )  # fmt: skip

    async def save(self, staff: auth.Staff, form: Mapping[str, str]) -> str:
        """Store a site, or a new one; its key. Raises UserError, and LookupError for one there is not."""
        if form.get("act") != "save":
            raise UserError("A site is saved, given a new identity secret, or deleted; nothing else.")
        draft, key = Draft.parse(form), form.get("key", "")
        async with self._db.transaction() as session:
            if key:
                await sites.change_site(session, key, draft)
            else:
                key = await sites.create_site(session, draft)
            await audit.record(session, staff.actor, "site.saved", f"site:{key}")
        return key

    async def delete(self, staff: auth.Staff, form: Mapping[str, str]) -> None:
        """Delete a site whose name was typed. Raises UserError, and LookupError for one there is not."""
        key = form.get("key", "")
        async with self._db.transaction() as session:
            site = next((one for one in await sites.all_sites(session) if one.key == key), None)
            if site is None:
                raise LookupError
            if one_line(form.get("confirm", "")) != site.name:
                raise UserError(f"Nothing was deleted. To delete this site, type its name: {site.name}")
            await sites.delete_site(session, key)
            await audit.record(session, staff.actor, "site.deleted", f"site:{key}")

    async def rotate(self, staff: auth.Staff, form: Mapping[str, str], host: str) -> Markup:
        """Make a new identity secret and show it, this once. Raises UserError and LookupError."""
        key = form.get("key", "")
        try:
            async with self._db.transaction() as session:
                secret = await sites.rotate_secret(session, key, self._now())
                await audit.record(session, staff.actor, "site.secret_made", f"site:{key}")
        except KeysMissing as missing:
            raise UserError(f"A secret cannot be kept here: {missing}") from missing
        return await self.page(staff, key, host, secret=secret)

    def _snippet(self, key: str, host: str) -> str:
        """What to paste into a page of this site."""
        known = self._settings.public_url or HOST.fullmatch(host) is None
        base = self._settings.base_url if known else f"http://{host}"
        script = f'<script src="{base}/widget.js" async></script>'
        return script if key == DEFAULT else f"<script>window.mathiaSettings = {{site: '{key}'}}</script>\n{script}"
