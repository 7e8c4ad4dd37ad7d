"""Who somebody is on the page that embeds the chat, and the proof of it that the page's server makes. Pure.

Two proofs do: the hex HMAC-SHA256 of the user id under the site's identity secret, or a JSON Web Token signed with it
by HS256. The secret's text is the key. Without a proof nobody is anybody.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from core.errors import UserError

USER_ID_CHARS_MAX = 128
NAME_CHARS_MAX = 80
EMAIL_CHARS_MAX = 254
JWT_CHARS_MAX = 4096
JWT_LIFE_MAX = timedelta(hours=24)
"""A token that is good for longer is refused: it would outlive whoever it was made for."""
JWT_ALGORITHM = "HS256"
DIGEST_CHARS = 64


class NotProven(UserError):
    """The proof proves nothing. The message is for whoever builds the page, and tells no secret."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a page says of its visitor, unproven; None for what it does not say."""

    user_id: str | None = None
    hash: str | None = None
    jwt: str | None = None
    name: str | None = None
    email: str | None = None


@dataclass(frozen=True, slots=True)
class Proven:
    """Somebody the embedding site vouches for: its own id of them, and what it calls them."""

    user_id: str
    name: str | None


def prove(claim: Claim, secrets: Sequence[str], now: datetime) -> Proven:
    """Who this is, when the proof was made with one of the site's secrets. Raises NotProven."""
    if not secrets:
        raise NotProven("This site has no identity secret. Make one on the admin page Widget.")
    _short(claim.email, "email", EMAIL_CHARS_MAX)
    if claim.jwt is not None:
        if claim.user_id is not None or claim.hash is not None:
            raise NotProven("identify wants user_id and hash, or jwt, not both.")
        said = _read(claim.jwt, secrets, now)
        return Proven(_user_id(said.get("sub")), _name(said.get("name") or claim.name))
    user_id = _user_id(claim.user_id)
    given = (claim.hash or "").lower()
    if len(given) != DIGEST_CHARS or not given.isascii():
        raise NotProven("identify wants hash, the hex HMAC-SHA256 of user_id, or jwt.")
    # Every secret is tried, so that the time tells nothing.
    right = [hmac.compare_digest(given, hash_of(user_id, secret)) for secret in secrets]
    if not any(right):
        raise NotProven("The hash is not the HMAC-SHA256 of this user_id under this site's identity secret.")
    return Proven(user_id, _name(claim.name))


def hash_of(user_id: str, secret: str) -> str:
    """The proof that a page's server makes for one of its users."""
    return hmac.new(secret.encode(), user_id.encode(), hashlib.sha256).hexdigest()


def _read(token: str, secrets: Sequence[str], now: datetime) -> dict[str, Any]:
    """The claims of a JSON Web Token that is signed with one of the secrets and good now."""
    # Few sites need it, and it is large.
    import jwt

    if len(token) > JWT_CHARS_MAX:
        raise NotProven(f"The token has more than {JWT_CHARS_MAX:,} characters.")
    said: dict[str, Any] | None = None
    for secret in secrets:
        try:
            said = jwt.decode(
                token,
                secret,
                algorithms=[JWT_ALGORITHM],
                # The clock is passed in, so the times are looked at here.
                options={"require": ["sub", "exp"], "verify_exp": False, "verify_nbf": False, "verify_iat": False,
                         "verify_aud": False},
            )  # fmt: skip
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            continue
    if said is None:
        raise NotProven("The token is not signed with this site's identity secret by HS256, or lacks sub or exp.")
    until, start = said["exp"], said.get("nbf", 0)
    if not (_is_number(until) and _is_number(start)):
        raise NotProven("The token's times are not numbers.")
    seconds = now.timestamp()
    if until <= seconds:
        raise NotProven("The token has expired. Make a new one for each page.")
    if until > seconds + JWT_LIFE_MAX.total_seconds():
        raise NotProven("The token is good for more than 24 hours. Give it a shorter life.")
    if start > seconds:
        raise NotProven("The token is not good yet.")
    return said


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value  # Not NaN.


def _user_id(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise NotProven("identify wants a user_id, which is a text that is not empty.")
    _short(value, "user_id", USER_ID_CHARS_MAX)
    if not value.isprintable():
        raise NotProven("The user_id has a character that cannot be seen.")
    return value


def _name(value: object) -> str | None:
    """What somebody is called, on one line; words only, so what does not fit is left out."""
    if not isinstance(value, str):
        return None
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in value[: 4 * NAME_CHARS_MAX]).split())
    return line[:NAME_CHARS_MAX] or None


def _short(value: str | None, what: str, chars_max: int) -> None:
    if value is not None and len(value) > chars_max:
        raise NotProven(f"The {what} has more than {chars_max} characters.")
