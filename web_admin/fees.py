"""What movements of money cost: the schedules, those to come too, and the form that adds one. None is ever changed."""

from collections.abc import Callable, Mapping
from datetime import datetime, time
from zoneinfo import ZoneInfo

from markupsafe import Markup

from core import audit
from core.db import Database, driver
from core.errors import UserError
from ledger import fees
from ledger.journal import Kind
from ledger.money import Money
from web_admin import auth
from web_admin.forms import currency_of
from web_admin.rendering import Templates

TEXT_CHARS_MAX = 4_000
KINDS: Mapping[Kind, str] = {
    Kind.WITHDRAWAL: "Money sent to M-Pesa", Kind.TRANSFER: "From wallet to wallet", Kind.DEPOSIT: "A top-up",
    Kind.INVOICE_PAYMENT: "An invoice that is paid",
}  # fmt: skip


class Fees:
    """Renders the page, and adds schedules."""

    def __init__(self, db: Database, templates: Templates, zone: ZoneInfo, now: Callable[[], datetime]) -> None:
        self._db, self._templates, self._zone, self._now = db, templates, zone, now

    async def page(self, staff: auth.Staff) -> Markup:
        """Every schedule, what is charged now first, and the form."""
        async with self._db.hot() as connection:
            listed = await fees.listed(connection)
        return self._templates.render(
            "fees.html", section="payments", staff=staff, listed=listed, kinds=KINDS,
            lines={one.id: lines(one.schedule) for one in listed}, today=self._now().astimezone(self._zone).date(),
        )  # fmt: skip

    async def add(self, staff: auth.Staff, fields: Mapping[str, str]) -> None:
        """Add a schedule, from the beginning of a day or, for today, from now. Raises UserError."""
        if any(len(value) > TEXT_CHARS_MAX for value in fields.values()):
            raise UserError(f"A field has at most {TEXT_CHARS_MAX} characters.")
        try:
            kind = Kind(fields.get("kind", ""))
        except ValueError:
            raise UserError("Say what is to cost something.") from None
        schedule = fees.read(
            kind, currency_of(fields), fields.get("tiers", ""), fields.get("at_least", ""), fields.get("at_most", "")
        )
        now = self._now().astimezone(self._zone)
        try:
            day = datetime.strptime(fields.get("from", ""), "%Y-%m-%d").date()  # noqa: DTZ007  a day, without a time
        except ValueError:
            raise UserError("Choose the day from which it is charged.") from None
        begins = now if day == now.date() else datetime.combine(day, time(), self._zone)
        async with self._db.transaction() as session:
            number = await fees.add(await driver(session), schedule, begins, staff.actor)
            await audit.record(session, staff.actor, "fees.added", f"fee_schedule:{number}", {"kind": kind.value})


def lines(schedule: fees.Schedule) -> list[str]:
    """A schedule in words, a line for each tier, and what it costs at least and at most."""

    def shown(minor: int) -> str:
        return str(Money(minor, schedule.currency))

    said = []
    low = None
    for tier in schedule.tiers:
        span = f"up to {shown(tier.up_to)}" if tier.up_to is not None else "all more" if low else "any amount"
        share = f"{tier.basis_points / 100:g} %" if tier.basis_points else ""
        flat = shown(tier.flat) if tier.flat else ""
        said.append(f"{span}: {' and '.join(filter(None, (flat, share))) or 'free'}")
        low = tier.up_to
    if schedule.at_least:
        said.append(f"at least {shown(schedule.at_least)}")
    if schedule.at_most is not None:
        said.append(f"at most {shown(schedule.at_most)}")
    return said
