"""The rules over a pipe: a JSON line in, a JSON line out, in order; for scoring, and for programs in other languages.

In: {"id", "text", "now": local ISO time, "timezone": IANA name, "state": null or {"action", "params", "asked",
"offered", "history"}}. Out: {"id", "action", "params", "confidence"}; a line that cannot be used is answered with
{"id", "error"}, and the next one is read. Both ways are UTF-8, whatever the locale says.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import IO, Any

from core.brain import classify, frames, track, when
from core.brain.gates import RULES
from core.brain.understand import LEAVE, parse
from core.brain.words import said
from core.dialog import DialogState

LINE_BYTES_MAX = 1 << 20
"""A longer line is refused and skipped."""
ACTIONS = frozenset(rule.action for rule in RULES) | track.LEARNT | frozenset(classify.model().classes)
OFFERED = "offered"
"""Among the params: what was offered and neither taken nor refused yet, so that it can still be taken later."""


class BadLine(ValueError):
    """A line that is not a question in this protocol; `id` is the question's when there was one."""

    def __init__(self, message: str, id: object = None) -> None:
        super().__init__(message)
        self.id = id


def main(args: argparse.Namespace) -> int:
    """Answer standard input until it ends; always 0, since a bad line is answered too."""
    for line in lines(sys.stdin.buffer):
        sys.stdout.buffer.write(json.dumps(answer(line)).encode("ascii") + b"\n")
        sys.stdout.buffer.flush()
    return 0


def lines(stream: IO[bytes]) -> Iterator[bytes | None]:
    """The stream's lines without the empty ones; None for one that is too long, which is skipped to its end."""
    while line := stream.readline(LINE_BYTES_MAX + 1):
        if len(line) > LINE_BYTES_MAX and not line.endswith(b"\n"):
            while (rest := stream.readline(LINE_BYTES_MAX)) and not rest.endswith(b"\n"):
                pass
            yield None
        elif line.strip():
            yield line


def answer(line: bytes | None) -> dict[str, Any]:
    """The answer to one line."""
    try:
        record = _record(line)
        intent = parse(
            record["text"], now=record["now"], zone=record["timezone"], state=record["state"], actions=ACTIONS
        )
    except BadLine as error:
        return {"id": error.id, "error": str(error)}
    state: DialogState = record["state"]
    action = "none" if intent.action == LEAVE else intent.action
    params = {name: _number(value) if name == "amount" else value for name, value in intent.slots.items()}
    if state.offered and action in (state.action, "none", "smalltalk") and state.action in track.LEARNT:
        plain = said(record["text"]).plain
        kept = None if frames.accepts(plain) or frames.refuses(plain) else dict(state.offered)
        if kept is not None and action != state.action:
            action, params = state.action, {}
        params[OFFERED] = kept
    return {"id": record["id"], "action": action, "params": params, "confidence": intent.confidence}


def _record(line: bytes | None) -> dict[str, Any]:
    if line is None:
        raise BadLine(f"A line may have at most {LINE_BYTES_MAX:,} bytes.")
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise BadLine("A line must be one JSON object in UTF-8.") from None
    if not isinstance(record, dict):
        raise BadLine("A line must be one JSON object in UTF-8.")
    id = record.get("id")
    text, now, zone = record.get("text"), record.get("now"), record.get("timezone", "UTC")
    if not isinstance(text, str) or not isinstance(now, str) or not isinstance(zone, str):
        raise BadLine("text, now and timezone must be strings.", id)
    try:
        moment = datetime.fromisoformat(now)
    except ValueError:
        raise BadLine("now must be an ISO 8601 time, such as 2026-03-11T10:00:00.", id) from None
    state = state_of(record.get("state"), when.local(moment, zone), zone, id)
    return {"id": id, "text": text, "now": moment, "timezone": zone, "state": state}


def state_of(raw: object, now: datetime, zone: str, id: object = None) -> DialogState:
    """The dialog state that a line carries; `now` is local and aware. Raises BadLine, with the line's `id`."""
    if raw is None:
        return DialogState()
    if not isinstance(raw, dict):
        raise BadLine("state must be null or an object.", id)
    action, asked = raw.get("action"), raw.get("asked") or ()
    params, offered, history = (raw.get(name) or {} for name in ("params", "offered", "history"))
    mappings = (params, offered, history, *(history.values() if isinstance(history, dict) else ()))
    if not all(isinstance(each, Mapping) for each in mappings) or not isinstance(asked, list | tuple):
        raise BadLine("state must hold params, offered and history as objects, and asked as a list.", id)
    bot = raw.get("bot")
    pending = params.get(OFFERED) or {}
    action, asked = action if isinstance(action, str) else None, tuple(map(str, asked))
    if action and isinstance(bot, str) and asked:
        offered = {**track.offered_by(action, asked, bot, now, zone), **offered}
    if isinstance(pending, Mapping):
        offered = {**pending, **offered}
    slots = {name: value for name, value in params.items() if name != OFFERED}
    return DialogState(action, slots, asked, offered, history)


def _number(value: object) -> object:
    """An amount as the protocol has it: a JSON number; None stays."""
    if not isinstance(value, str):
        return value
    return int(value) if value.isdigit() else float(value)


if __name__ == "__main__":
    raise SystemExit(main(argparse.Namespace()))
