"""What the simulated phones show: people, their chats, and a log of events that pages follow across restarts."""

import asyncio
import json
from collections.abc import Iterator
from typing import Literal, TypeAlias

from bot.sandbox.truth import Disk, Journal, JsonObject

App: TypeAlias = Literal["whatsapp", "telegram"]

MESSAGES_MAX = 4_000
"""Messages kept for all phones together; older ones scroll away."""
PEOPLE_MAX = 2_000
FOLLOWERS_MAX = 64
BACKLOG_MAX = 1_000
"""Events a page may be behind before its stream is cut; it resumes by itself."""

PEOPLE: dict[App, tuple[str, str]] = {"whatsapp": ("+254712345678", "Amina"), "telegram": ("7000001", "Brian")}
"""The two people who always have a phone: id and name."""


class Screen:
    """Chats of simulated people. A message is a JSON object: id, as, person, from (me, bot), text, status, at …"""

    def __init__(self, disk: Disk) -> None:
        self.journal = Journal(disk, "phone")
        self._followers: set[asyncio.Queue[bytes | None]] = set()
        self._waiting: dict[App, str] = {"whatsapp": "", "telegram": ""}
        self._forget()
        for row in self.journal.rows():
            self._apply(row)

    def _forget(self) -> None:
        self.people: dict[tuple[App, str], str] = {(app, who[0]): who[1] for app, who in PEOPLE.items()}
        self._messages: dict[tuple[App, str], JsonObject] = {}

    def _apply(self, row: JsonObject) -> None:
        match row.get("event"):
            case "message":
                message = {k: v for k, v in row.items() if k != "event"}
                self._messages[row["as"], row["id"]] = message
                if message.get("name"):
                    self.know(row["as"], row["person"], row["name"])
                while len(self._messages) > MESSAGES_MAX:
                    del self._messages[next(iter(self._messages))]
            case "status" | "edit":
                known = self._messages.get((row["as"], row["id"]))
                if known is not None:
                    known.update({k: v for k, v in row.items() if k not in ("event", "n", "at")})
            case "reset":
                self._forget()

    def _log(self, row: JsonObject) -> None:
        number = self.journal.append(row)
        line = self.journal.since(number - 1)[0]
        self._apply(json.loads(line))
        self._tell(f"id: {number}\nevent: {row['event']}\ndata: ".encode() + line + b"\n\n")

    def _tell(self, event: bytes) -> None:
        for queue in list(self._followers):
            if queue.qsize() >= BACKLOG_MAX:
                self._followers.discard(queue)
                queue.put_nowait(None)
            else:
                queue.put_nowait(event)

    def know(self, app: App, person: str, name: str) -> None:
        """Give a person a phone."""
        if (app, person) not in self.people and len(self.people) >= PEOPLE_MAX:
            raise ValueError(f"There are {PEOPLE_MAX} phones already; POST /_reset takes them away.")
        self.people[app, person] = name

    def knows(self, app: App, person: str) -> bool:
        """Whether this person has a phone here."""
        return (app, person) in self.people

    def add(self, app: App, person: str, message: JsonObject) -> None:
        """Show a message; it has at least id, from, text and status."""
        self._log({"event": "message", "as": app, "person": person, **message})

    def status(self, app: App, message_id: str, status: str, note: str = "") -> None:
        """Change a message's tick; `note` says why in words."""
        known = self._messages.get((app, message_id))
        if known is not None and (known.get("status"), known.get("note") or "") != (status, note):
            self._log({"event": "status", "as": app, "id": message_id, "status": status, "note": note})

    def edit(self, app: App, message_id: str, change: JsonObject) -> None:
        """Change what a message says."""
        if (app, message_id) in self._messages:
            self._log({"event": "edit", "as": app, "id": message_id, **change})

    def typing(self, app: App, person: str) -> None:
        """Show typing dots for some seconds; not kept."""
        self._tell(b"event: typing\ndata: " + json.dumps({"as": app, "person": person}).encode() + b"\n\n")

    def prompted(self) -> None:
        """Say that M-Pesa asks or tells somebody something; what, is asked for (bot/sandbox/intasend)."""
        self._tell(b"event: mpesa\ndata: {}\n\n")

    def waiting(self, app: App, reason: str) -> None:
        """Show that messages wait for the application, and why; an empty reason says that all is well again."""
        if self._waiting[app] != reason:
            self._waiting[app] = reason
            self._tell(self._waiting_event())

    def _waiting_event(self) -> bytes:
        return b"event: waiting\ndata: " + json.dumps(self._waiting).encode() + b"\n\n"

    def message(self, app: App, message_id: str) -> JsonObject | None:
        """One message, as it is now."""
        return self._messages.get((app, message_id))

    def messages(self, app: App | None = None, person: str | None = None) -> Iterator[JsonObject]:
        """Messages as they are now, oldest first."""
        for message in self._messages.values():
            if app in (None, message["as"]) and person in (None, message["person"]):
                yield message

    def follow(self, since: int) -> asyncio.Queue[bytes | None]:
        """A queue of events in the form of server-sent events: what came after `since`, then live; None ends it."""
        if len(self._followers) >= FOLLOWERS_MAX:
            raise ValueError(f"{FOLLOWERS_MAX} pages follow the phone already; close one.")
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        queue.put_nowait(b"retry: 1000\n\n" + self._waiting_event())
        for line in self.journal.since(since):
            row = json.loads(line)
            queue.put_nowait(f"id: {row['n']}\nevent: {row['event']}\ndata: ".encode() + line + b"\n\n")
        self._followers.add(queue)
        return queue

    def unfollow(self, queue: asyncio.Queue[bytes | None]) -> None:
        """Stop following."""
        self._followers.discard(queue)

    def end(self) -> None:
        """End all streams; the process stops."""
        for queue in self._followers:
            queue.put_nowait(None)
        self._followers.clear()

    def reset(self) -> None:
        """Forget people and chats."""
        self._log({"event": "reset"})
