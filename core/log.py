"""Logging: structlog over the standard library, one line an event, secrets and message text never in it."""

import logging
import logging.config
import sys
from collections.abc import Iterable, MutableMapping
from typing import Any

import structlog
from pydantic import SecretStr

from core.settings import Settings

QUIET = ("httpx", "httpx2", "httpcore", "aiohttp.access", "telegram", "twilio", "asyncio", "dramatiq", "temporalio")
"""Libraries that log addresses (and the tokens in them), or tracebacks of what we handle: warnings only."""
FORBIDDEN = frozenset(
    {"text", "body", "phone", "token", "password", "secret", "authorization", "url", "parts", "content"}
)
"""Keys whose values are never written, whatever they hold."""


def configure(settings: Settings) -> None:
    """Set up logging for this process; the live values of all secrets are blanked wherever they turn up."""
    secrets = [value.get_secret_value() for value in dict(settings).values() if isinstance(value, SecretStr)]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _Redact(value for value in secrets if len(value) >= 8),
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_formatting(settings), renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _formatting(settings: Settings) -> list[Any]:
    return [structlog.processors.format_exc_info] if settings.log_format == "json" else []


class _Redact:
    """Blanks forbidden keys, and secrets wherever they stand in a string."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = tuple(secrets)

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        for key, value in event.items():
            if key in FORBIDDEN:
                event[key] = "***"
            elif isinstance(value, str):
                for secret in self._secrets:
                    if secret in value:
                        event[key] = value = value.replace(secret, "***")
        return event
