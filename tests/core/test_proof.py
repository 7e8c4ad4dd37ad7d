"""Proofs of who somebody is: the right ones pass, everything near them does not."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.proof import JWT_LIFE_MAX, USER_ID_CHARS_MAX, Claim, NotProven, hash_of, prove

NOW = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
SECRET, OLD, OTHER = "a1" * 32, "b2" * 32, "c3" * 32
ids = st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=USER_ID_CHARS_MAX)


def token(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    said = {"sub": "42", "exp": int((NOW + timedelta(hours=1)).timestamp()), **claims}
    return jwt.encode({name: value for name, value in said.items() if value is not None}, secret, algorithm)


def unsigned(**claims: Any) -> str:
    parts = [{"alg": "none", "typ": "JWT"}, {"sub": "42", "exp": NOW.timestamp() + 60, **claims}]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


@given(ids, st.sampled_from([SECRET, OLD]))
def test_the_hash_of_either_secret_proves_exactly_its_user(user_id: str, secret: str) -> None:
    digest = hash_of(user_id, secret)
    assert prove(Claim(user_id, digest), [SECRET, OLD], NOW).user_id == user_id
    assert prove(Claim(user_id, digest.upper()), [SECRET, OLD], NOW).user_id == user_id
    for claim in (Claim(user_id + "x", digest), Claim(user_id, digest[:-1] + ("0" if digest[-1] != "0" else "1"))):
        with pytest.raises(NotProven):
            prove(claim, [SECRET, OLD], NOW)
    with pytest.raises(NotProven):
        prove(Claim(user_id, digest), [OTHER], NOW)


def test_a_token_proves_its_subject_and_names_them() -> None:
    found = prove(Claim(jwt=token(name="Amina\n Otieno")), [SECRET], NOW)
    assert (found.user_id, found.name) == ("42", "Amina Otieno")
    assert prove(Claim(jwt=token(OLD)), [SECRET, OLD], NOW).user_id == "42"


FAR = (NOW + JWT_LIFE_MAX + timedelta(seconds=1)).timestamp()


@pytest.mark.parametrize(
    "claim",
    [
        Claim(),
        Claim("42"),
        Claim("42", ""),
        Claim("42", "0" * 64),
        Claim("42", "ä" * 64),
        Claim("", hash_of("", SECRET)),
        Claim("  ", hash_of("  ", SECRET)),
        Claim("4\u00002", hash_of("4\u00002", SECRET)),
        Claim("4\n2", hash_of("4\n2", SECRET)),
        Claim("4" * 10_240, hash_of("4" * 10_240, SECRET)),
        Claim("42", hash_of("42", OTHER)),
        Claim("42", hash_of("42", SECRET), email="x" * 10_240),
        Claim("42", hash_of("42", SECRET), jwt=token()),
        Claim(jwt=""),
        Claim(jwt="a.b.c"),
        Claim(jwt="." * 4_000),
        Claim(jwt=token() + "x" * 10_240),
        Claim(jwt=token(OTHER)),
        Claim(jwt=token(algorithm="HS512")),
        Claim(jwt=unsigned()),
        Claim(jwt=token()[:-1]),
        Claim(jwt=token(exp=None)),
        Claim(jwt=token(exp=NOW.timestamp())),
        Claim(jwt=token(exp=FAR)),
        Claim(jwt=token(exp="tomorrow")),
        Claim(jwt=token(exp=True)),
        Claim(jwt=token(exp=1e400)),
        Claim(jwt=token(nbf=NOW.timestamp() + 60)),
        Claim(jwt=token(sub=None)),
        Claim(jwt=token(sub="")),
        Claim(jwt=token(sub="4" * 200)),
    ],
)
def test_everything_else_proves_nothing(claim: Claim) -> None:
    with pytest.raises(NotProven):
        prove(claim, [SECRET, OLD], NOW)


def test_without_a_secret_nobody_is_proved() -> None:
    with pytest.raises(NotProven, match="no identity secret"):
        prove(Claim("42", hash_of("42", "")), [], NOW)
