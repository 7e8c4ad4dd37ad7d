"""Frankfurter v2: exchange rates of central banks, without a key."""

from collections.abc import Callable
from datetime import date, datetime, timedelta

from bot.sandbox.calls import Answer, Call, answer_json
from bot.sandbox.faults import Faults
from bot.sandbox.rates import CURRENCIES, EARLIEST, business_day, rate
from bot.sandbox.truth import Disk, Journal, JsonObject

RECORDS_MAX = 20_000
PROVIDERS = (("CBK", "Central Bank of Kenya", "KE"), ("ECB", "European Central Bank", "EU"))
FIELDS = {"base", "quotes", "date", "from", "to", "providers", "group", "expand"}


class Refused(Exception):
    """The API says no; `status` is 404 or 422."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Frankfurter:
    """The simulator of Frankfurter."""

    name = "frankfurter"

    def __init__(self, disk: Disk, now: Callable[[], datetime]) -> None:
        self.journal = Journal(disk, self.name)
        self.faults = Faults()
        self._now = now

    def too_many(self, retry_after_s: int) -> Answer:
        """Frankfurter's 429."""
        return answer_json({"status": 429, "message": "too many requests"}, 429, {"Retry-After": str(retry_after_s)})

    def broken(self) -> Answer:
        """Frankfurter's 500."""
        return answer_json({"status": 500, "message": "internal server error"}, 500)

    def heal(self) -> None:
        """Nothing but plans makes trouble here."""

    def reset(self) -> None:
        """Nothing is remembered here."""

    async def answer(self, call: Call) -> Answer:
        """Serve the API."""
        try:
            body = self._serve(call)
        except Refused as error:
            return answer_json({"status": error.status, "message": str(error)}, error.status)
        row: JsonObject = {"kind": "read", "path": call.path, "query": dict(call.query.items())}
        self.journal.append(row | ({"fault": call.fault} if call.fault else {}))
        return answer_json(body)

    def _serve(self, call: Call) -> object:
        parts = call.path.strip("/").split("/")
        if call.method != "GET" or parts[0] != "v2":
            raise Refused(404, "not found")
        match parts[1:]:
            case ["rates"]:
                return self._rates(call)
            case ["rate", base, quote]:
                base, quote = _code(base), _code(quote)
                return _record(self._date(call, "date") or self._today(), base, quote)
            case ["currencies"]:
                return [self._currency(code) for code in sorted(CURRENCIES)]
            case ["currency", code] if code.upper() in CURRENCIES:
                _, name, number, symbol = CURRENCIES[code.upper()]
                providers = [key for key, _, _ in PROVIDERS]
                return {
                    "iso_code": code.upper(),
                    "iso_numeric": number,
                    "name": name,
                    "symbol": symbol,
                    "providers": providers,
                }
            case ["providers"]:
                return [
                    {"key": key, "name": name, "country_code": country, "currencies": sorted(CURRENCIES)}
                    for key, name, country in PROVIDERS
                ]
            case _:
                raise Refused(404, "not found")

    def _today(self) -> date:
        return business_day(self._now().date())

    def _currency(self, code: str) -> JsonObject:
        _, name, number, symbol = CURRENCIES[code]
        return {
            "iso_code": code,
            "iso_numeric": number,
            "name": name,
            "symbol": symbol,
            "start_date": EARLIEST.isoformat(),
            "end_date": self._today().isoformat(),
        }

    def _date(self, call: Call, name: str) -> date | None:
        value = call.query.get(name)
        if value is None:
            return None
        try:
            day = date.fromisoformat(value)
        except ValueError:
            raise Refused(422, "invalid date") from None
        if day < EARLIEST:
            raise Refused(404, "not found")
        return min(business_day(day), self._today())

    def _rates(self, call: Call) -> list[JsonObject]:
        unknown = set(call.query) - FIELDS
        if unknown:
            raise Refused(422, f"unknown parameter: {', '.join(sorted(unknown))}")
        base = _code(call.query.get("base", "EUR"))
        asked = call.query.get("quotes")
        wrong = [code for code in (asked or "").upper().split(",") if code and code not in CURRENCIES]
        if wrong:
            raise Refused(422, f"invalid currency: {','.join(wrong)}")
        quotes = sorted(set(asked.upper().split(",")) - {""}) if asked else sorted(CURRENCIES)
        day, first = self._date(call, "date"), self._date(call, "from")
        if day and (first or "to" in call.query):
            raise Refused(422, "conflicting params")
        group = call.query.get("group")
        if group not in (None, "week", "month"):
            raise Refused(422, "invalid group")
        if first is None:
            return [_record(day or self._today(), base, quote) for quote in quotes]
        last = self._date(call, "to") or self._today()
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        days = [
            d
            for d in days
            if d.weekday() < 5 and (group is None or (d.weekday() == 0 if group == "week" else d.day == 1))
        ]
        if len(days) * len(quotes) > RECORDS_MAX:
            raise Refused(503, "request deadline expired")
        return [_record(d, base, quote) for d in days for quote in quotes]


def _code(value: str) -> str:
    code = value.upper()
    if code not in CURRENCIES:
        raise Refused(422, f"invalid currency: {code[:20]}")
    return code


def _record(day: date, base: str, quote: str) -> JsonObject:
    return {"date": day.isoformat(), "base": base, "quote": quote, "rate": float(rate(base, quote, day))}
