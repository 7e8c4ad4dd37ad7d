"""Origins of web pages, written as browsers write them. Pure."""

from urllib.parse import urlsplit

from core.errors import UserError

DEFAULT_PORTS = {"http": 80, "https": 443}


def parse_origin(text: str) -> str:
    """An origin as browsers write it: lower case, punycode, no default port. Raises UserError with a sentence."""
    wrong = UserError(
        f"{text!r} is not an origin. Write a scheme and a host, such as https://shop.example or http://127.0.0.1:8000."
    )
    try:
        parts = urlsplit(text.strip().rstrip("/"))
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode()
    except (ValueError, UnicodeError) as error:
        raise wrong from error
    bare = not (parts.path or parts.query or parts.fragment or parts.username or parts.password)
    if parts.scheme not in DEFAULT_PORTS or not bare or not host or "*" in host:
        raise wrong
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}" + (f":{port}" if port and port != DEFAULT_PORTS[parts.scheme] else "")
