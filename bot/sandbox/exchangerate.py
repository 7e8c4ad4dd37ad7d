"""ExchangeRate-API v6; the key is in the path and any that begins with "sandbox" is good.

Two good keys have a fate: sandbox-inactive (inactive-account) and sandbox-quota (quota-reached).
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from email.utils import format_datetime

from bot.sandbox.accounts import is_api_key
from bot.sandbox.calls import Answer, Call, answer_json
from bot.sandbox.faults import Faults
from bot.sandbox.rates import CURRENCIES, rate
from bot.sandbox.truth import Disk, Journal, JsonObject

CODE = re.compile(r"[A-Za-z]{3}")
AMOUNT = re.compile(r"\d{1,15}(\.\d{1,10})?")
LINKS = {
    "documentation": "https://www.exchangerate-api.com/docs",
    "terms_of_use": "https://www.exchangerate-api.com/terms",
}


def refuse(kind: str, status: int) -> Answer:
    """The API's error body."""
    more = {"documentation": LINKS["documentation"], "terms-of-use": LINKS["terms_of_use"]}
    return answer_json({"result": "error", **more, "error-type": kind}, status)


class ExchangeRate:
    """The simulator of ExchangeRate-API."""

    name = "exchangerate"

    def __init__(self, disk: Disk, now: Callable[[], datetime]) -> None:
        self.journal = Journal(disk, self.name)
        self.faults = Faults()
        self._now = now

    def too_many(self, retry_after_s: int) -> Answer:
        """ExchangeRate-API's 429."""
        answer = refuse("quota-reached", 429)
        answer.headers = {"Retry-After": str(retry_after_s)}
        return answer

    def broken(self) -> Answer:
        """ExchangeRate-API's 500."""
        return answer_json({"result": "error", "error-type": "internal-error"}, 500)

    def heal(self) -> None:
        """Nothing but plans makes trouble here."""

    def reset(self) -> None:
        """Nothing is remembered here."""

    async def answer(self, call: Call) -> Answer:
        """Serve the API."""
        parts = call.path.strip("/").split("/")
        if call.method != "GET" or len(parts) < 3 or parts[0] != "v6":
            return refuse("malformed-request", 404)
        key = parts[1]
        if not is_api_key(key):
            return refuse("invalid-key", 403)
        if key == "sandbox-inactive":
            return refuse("inactive-account", 403)
        if key == "sandbox-quota":
            return refuse("quota-reached", 403)
        answer = self._serve(parts[2:])
        if answer.status == 200:
            row: JsonObject = {"kind": "read", "path": "/".join(parts[2:])}
            self.journal.append(row | ({"fault": call.fault} if call.fault else {}))
        return answer

    def _serve(self, parts: list[str]) -> Answer:
        day = self._now().date()
        match parts:
            case ["latest", base]:
                problem = _problem(base)
                if problem:
                    return problem
                base = base.upper()
                rates = {code: _number(rate(base, code, day)) for code in (base, *sorted(set(CURRENCIES) - {base}))}
                return answer_json(self._head() | {"base_code": base, "conversion_rates": rates})
            case ["pair", base, target, *amounts] if len(amounts) < 2:
                problem = _problem(base) or _problem(target)
                if problem:
                    return problem
                base, target = base.upper(), target.upper()
                value = rate(base, target, day)
                body = self._head() | {"base_code": base, "target_code": target, "conversion_rate": _number(value)}
                if amounts:
                    if not AMOUNT.fullmatch(amounts[0]):
                        return refuse("malformed-request", 404)
                    try:
                        body["conversion_result"] = _number((Decimal(amounts[0]) * value).quantize(Decimal("0.0001")))
                    except InvalidOperation:
                        return refuse("malformed-request", 404)
                return answer_json(body)
            case ["codes"]:
                codes = [[code, CURRENCIES[code][1]] for code in sorted(CURRENCIES)]
                return answer_json({"result": "success", **LINKS, "supported_codes": codes})
            case ["quota"]:
                return answer_json(
                    {
                        "result": "success",
                        **LINKS,
                        "plan_quota": 1500,
                        "requests_remaining": 1488,
                        "refresh_day_of_month": 17,
                    }
                )
            case _:
                return refuse("malformed-request", 404)

    def _head(self) -> JsonObject:
        last = datetime.combine(self._now().date(), time(0, 0, 1), UTC)
        following = last + timedelta(days=1)
        return {
            "result": "success",
            **LINKS,
            "time_last_update_unix": int(last.timestamp()),
            "time_last_update_utc": format_datetime(last),
            "time_next_update_unix": int(following.timestamp()),
            "time_next_update_utc": format_datetime(following),
        }


def _problem(code: str) -> Answer | None:
    if not CODE.fullmatch(code):
        return refuse("malformed-request", 404)
    return None if code.upper() in CURRENCIES else refuse("unsupported-code", 404)


def _number(value: Decimal) -> float | int:
    return int(value) if value == 1 else float(value)
