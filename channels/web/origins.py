"""Which web pages may talk to us: an exact list of origins, no patterns. Pure."""

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from core.origins import parse_origin
from core.settings import Settings

HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")


class Origins:
    """The origins that may embed the widget: our own address and those in the settings."""

    def __init__(self, settings: Settings) -> None:
        """Raises UserError when WIDGET_ORIGINS holds something that is not an origin."""
        listed = [entry for entry in settings.widget_origins.split(",") if entry.strip()]
        base = urlsplit(settings.base_url)
        self._allowed = frozenset(
            {parse_origin(f"{base.scheme}://{base.netloc}"), *(parse_origin(entry) for entry in listed)}
        )

    def allows(self, origins: Iterable[str], scheme: str, host: str) -> bool:
        """Whether the Origin headers of a request name one allowed origin; scheme and host are the request's own.

        The request's own address is allowed when it is an IP address or localhost. A name is not: whoever
        owns a name can point it at us, so names are allowed only where the settings say so.
        """
        given = list(origins)
        if len(given) != 1:
            return False
        return given[0] in self._allowed or (_is_own_machine(host) and given[0] == f"{scheme}://{host}")


def own_address(settings: Settings, scheme: str, host: str) -> str:
    """The address to write into pages: the public one, else the one this request came to."""
    if settings.public_url or HOST.fullmatch(host) is None:
        return settings.base_url
    return f"{scheme}://{host}"


def _is_own_machine(host: str) -> bool:
    if HOST.fullmatch(host) is None:
        return False
    name = host[1 : host.index("]")] if host.startswith("[") else host.partition(":")[0]
    if name == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
