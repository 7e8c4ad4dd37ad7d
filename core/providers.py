"""Third parties over HTTP: bounded in time, size and tries, with a circuit breaker for each provider.

What reads may be repeated, and is. What does something (`order_json`) is told once, and then done, refused, certainly
not done, or unknown. Addresses and parameters are never logged, because keys live in them.
"""

import asyncio
import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime

import httpx
import stamina
import structlog
from pydantic import JsonValue

from core.breaker import Breaker
from core.errors import (
    OutcomeUnknown,
    ProviderError,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
)
from core.settings import Settings

log = structlog.get_logger()

CONNECT_S = 5.0
READ_S = 15.0
DEADLINE_S = 20.0
"""All tries and the waits between them together."""
TRIES_MAX = 3
BODY_BYTES_MAX = 2 * 1024 * 1024
CONNECTIONS_MAX = 20
BACKOFF_S = 0.5
"""The mean wait before the second try: from half of it to one and a half, and longer before the third."""
ORDER_S = 45.0
"""How long the answer to an order is waited for."""
AMBIGUOUS = frozenset({408, 409, 425, 499})
"""Refusals that do not say that nothing was done."""
AGAIN = frozenset({408, 500, 502, 503, 504, 529})
"""Statuses after which the same request may well succeed; 429 too, when we are told."""

Scalar = str | int
Clock = Callable[[], float]


class Refused(ProviderRefused):
    """A third party said no, with an HTTP status of 4xx; `body` is its parsed answer, or None."""

    def __init__(self, message: str, status: int, body: JsonValue) -> None:
        super().__init__(message)
        self.status = status
        self.body = body


class Providers:
    """Every third party this process reads from; one per process, closed at its end."""

    def __init__(
        self, settings: Settings, *,
        clock: Clock = time.monotonic, backoff_s: float = BACKOFF_S, deadline_s: float = DEADLINE_S,
    ) -> None:  # fmt: skip
        self.settings = settings
        self._clock = clock
        self._backoff_s = backoff_s
        self._deadline_s = deadline_s
        self._known: dict[tuple[str, str], Provider] = {}
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        """Trusts nobody, until the first provider with an https address makes it worth reading who is to be trusted."""

    def client(self, name: str, base_url: str) -> "Provider":
        """The provider `name` at `base_url`; the same one, with its connections and its circuit, each time."""
        key = (name, base_url.rstrip("/"))
        if key not in self._known:
            if key[1].startswith("https:") and not self._tls.cert_store_stats()["x509_ca"]:
                self._tls = httpx.create_ssl_context(trust_env=False)
            client = httpx.AsyncClient(
                base_url=key[1],
                timeout=httpx.Timeout(READ_S, connect=CONNECT_S),
                limits=httpx.Limits(max_connections=CONNECTIONS_MAX),
                headers={"accept": "application/json", "user-agent": "mathia"},
                follow_redirects=False,
                trust_env=False,
                verify=self._tls,
            )
            self._known[key] = Provider(name, client, self._clock, self._backoff_s, self._deadline_s)
        return self._known[key]

    def is_away(self, base_url: str) -> bool:
        """Whether whoever is asked at that address has failed so often that nobody is asked there just now."""
        at = base_url.rstrip("/")
        now = self._clock()
        return any(one.breaker.wait_s(now) > 0 for (_, url), one in self._known.items() if url == at)

    async def close(self) -> None:
        """Close every connection."""
        for provider in self._known.values():
            await provider.close()


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked: at which path, with which parameters or body; `exact` reads decimals as Decimal."""

    path: str
    params: Mapping[str, Scalar]
    exact: bool
    body: Mapping[str, JsonValue] | None = None
    headers: Mapping[str, str] | None = None
    form: tuple[Mapping[str, str], Mapping[str, tuple[str, bytes]]] | None = None
    read_s: float = READ_S


class Provider:
    """One third party at one address."""

    def __init__(self, name: str, client: httpx.AsyncClient, clock: Clock, backoff_s: float, deadline_s: float) -> None:
        self.name = name
        self.breaker = Breaker()
        self._client = client
        self._clock = clock
        self._backoff_s = backoff_s
        self._deadline_s = deadline_s

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def get_json(
        self, path: str, params: Mapping[str, Scalar] | None = None, *, exact: bool = False, token: str = ""
    ) -> object:
        """The parsed JSON at `path`, which is joined to the base address; `exact` reads decimals as Decimal.

        Raises Refused for a 4xx; ProviderTimeout, RateLimited or ProviderUnavailable when a try later may help.
        """
        return await self._in_time(_Question(path, dict(params or {}), exact, headers=_bearer(token)))

    async def post_json(
        self, path: str, body: Mapping[str, JsonValue], *, token: str = "", exact: bool = False
    ) -> object:
        """The same for a question that is not an address; it must only read."""
        return await self._in_time(_Question(path, {}, exact, body, _bearer(token)))

    async def order_json(self, path: str, body: Mapping[str, JsonValue], *, token: str = "") -> object:
        """Have something done, told once: the parsed JSON, decimals as Decimal, says that it is done.

        Raises Refused when it was refused; RateLimited or ProviderUnavailable when it certainly was not done, and may
        be told again; OutcomeUnknown for everything else, from a lost connection to an answer that cannot be read.
        """
        question = _Question(path, {}, True, body, _bearer(token), read_s=ORDER_S)
        if not self.breaker.allows(self._clock()):
            raise ProviderUnavailable(f"{self.name} failed repeatedly; it is asked again in a while.")
        try:
            async with asyncio.timeout(ORDER_S):
                answer = await self._ask(question)
        except _Again as again:
            self._failed(again.error, again.status)
            if again.unsent or isinstance(again.error, RateLimited):
                raise again.error from None
            raise OutcomeUnknown(str(again.error)) from None
        except (ProviderError, TimeoutError) as error:
            self._failed(ProviderTimeout(str(error)), None)
            raise OutcomeUnknown(f"{self.name} did not say whether it did it.") from None
        except Refused as refused:
            self.breaker.succeeded()
            if refused.status in AMBIGUOUS:
                raise OutcomeUnknown(str(refused)) from None
            raise
        self.breaker.succeeded()
        return answer

    async def post_file(
        self, path: str, fields: Mapping[str, str], file: tuple[str, bytes], *, token: str, deadline_s: float
    ) -> object:
        """The same for a file (name and bytes) under a bearer token, with form fields; tried once, for `deadline_s`."""
        question = _Question(
            path, {}, False, None, {"authorization": f"Bearer {token}"}, (dict(fields), {"file": file}), deadline_s
        )
        try:
            async with asyncio.timeout(deadline_s):
                return await self._try(question)
        except _Again as again:
            raise again.error from None
        except TimeoutError:
            self.breaker.failed(self._clock())
            raise ProviderTimeout(f"{self.name} did not answer within {deadline_s:g} s.") from None

    async def _in_time(self, question: "_Question") -> object:
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._tries(question)
        except _Again as again:
            raise again.error from None
        except TimeoutError:
            self.breaker.failed(self._clock())
            raise ProviderTimeout(f"{self.name} did not answer within {self._deadline_s:g} s.") from None

    async def _tries(self, question: "_Question") -> object:
        retries = stamina.retry_context(
            on=self._wait,
            attempts=TRIES_MAX,
            timeout=None,
            wait_initial=self._backoff_s / 2,
            wait_jitter=self._backoff_s,
            wait_max=self._backoff_s * 4,
        )
        async for attempt in retries:
            with attempt:
                return await self._try(question)
        raise AssertionError("a retry loop ends with an answer or an error")

    async def _try(self, question: "_Question") -> object:
        """One try, if the circuit lets it pass."""
        if not self.breaker.allows(self._clock()):
            wait_s = self.breaker.wait_s(self._clock())
            raise ProviderUnavailable(f"{self.name} failed repeatedly; it is asked again in {wait_s:.0f} s.")
        try:
            answer = await self._ask(question)
        except _Again as again:
            self._failed(again.error, again.status)
            raise
        except ProviderError as error:
            self._failed(error, None)
            raise
        except Refused:
            self.breaker.succeeded()
            raise
        self.breaker.succeeded()
        return answer

    def _wait(self, error: Exception) -> bool | float:
        """Whether to try again, and when: told times are obeyed, and too long ones are not waited for."""
        if not isinstance(error, _Again):
            return False
        if error.wait_s is None:
            return True
        return error.wait_s if error.wait_s < self._deadline_s / 2 else False

    def _failed(self, error: ProviderError, status: int | None) -> None:
        self.breaker.failed(self._clock())
        log.warning(
            "provider.failed",
            provider=self.name,
            error=type(error).__name__,
            status=status,
            circuit=self.breaker.state.value,
        )

    async def _ask(self, question: "_Question") -> object:
        """One try. Raises _Again for what may be tried again at once, other errors for what may not."""
        try:
            fields, files = question.form or (None, None)
            async with self._client.stream(
                "GET" if question.body is None and files is None else "POST",
                question.path,
                params=question.params,
                json=question.body,
                data=fields,
                files=files,
                headers=question.headers,
                timeout=httpx.Timeout(question.read_s, connect=CONNECT_S),
            ) as response:
                body = await self._body(response)
        except (httpx.ReadTimeout, httpx.WriteTimeout):
            raise ProviderTimeout(f"{self.name} did not answer within {question.read_s:.0f} s.") from None
        except httpx.TransportError as error:
            # `from None`: the library's errors carry the request, and with it the address.
            reason = f"{self.name} could not be reached ({type(error).__name__})."
            unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
            raise _Again(ProviderUnavailable(reason), unsent=unsent) from None
        except (httpx.DecodingError, httpx.InvalidURL) as error:
            raise ProviderUnavailable(f"{self.name} gave no readable answer ({type(error).__name__}).") from None
        return self._judge(response.status_code, response.headers, body, question.exact)

    async def _body(self, response: httpx.Response) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > BODY_BYTES_MAX:
                raise ProviderUnavailable(f"{self.name} answered with more than {BODY_BYTES_MAX} bytes.")
        return bytes(body)

    def _judge(self, status: int, headers: httpx.Headers, body: bytes, exact: bool) -> object:
        if status == 429:
            wait_s = _retry_after_s(headers)
            error = RateLimited(f"{self.name} asks us to wait.", wait_s if wait_s is not None else self._backoff_s)
            raise _Again(error, status, wait_s)
        if status in AGAIN:
            unavailable = ProviderUnavailable(f"{self.name} is out of order (status {status}).")
            raise _Again(unavailable, status, _retry_after_s(headers))
        if 400 <= status < 500:
            raise Refused(f"{self.name} refused (status {status}).", status, _readable(body))
        if status not in (200, 201):
            raise ProviderUnavailable(f"{self.name} answered with status {status}.")
        try:
            return _parse(body, exact)
        except ValueError:
            raise ProviderUnavailable(f"{self.name} answered with something other than JSON.") from None


class _Again(Exception):
    """A try that failed and, where it only reads or was `unsent`, may be repeated; after `wait_s` when told so."""

    def __init__(
        self, error: ProviderError, status: int | None = None, wait_s: float | None = None, *, unsent: bool = False
    ) -> None:
        super().__init__(str(error))
        self.unsent = unsent
        self.error = error
        self.status = status
        self.wait_s = wait_s


def _bearer(token: str) -> dict[str, str] | None:
    return {"authorization": f"Bearer {token}"} if token else None


def _retry_after_s(headers: httpx.Headers) -> float | None:
    """Seconds to wait as the provider said: a number, or a date; None when it said nothing readable."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit() and len(value) <= 6:
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds())


def _parse(body: bytes, exact: bool) -> object:
    """Parsed JSON; ValueError for anything that is not, numbers no computer holds and depths no answer needs."""
    try:
        return json.loads(body, parse_float=Decimal if exact else None, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _readable(body: bytes) -> JsonValue:
    try:
        value: JsonValue = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return value
