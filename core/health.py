"""Whether a server we depend on answers, as one sentence a person can read."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Health:
    """One server's state now: `ok`, and `detail` in a few words ("answers in 1 ms", "refused the connection")."""

    ok: bool
    detail: str
