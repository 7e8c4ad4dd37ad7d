"""Append-only logs of what the simulators really did: JSON lines that outlive kill -9, the newest kept in memory.

A row is written with one O_APPEND write before anybody is answered, so a killed process loses nothing; fsync follows in
a batch, at most FSYNC_DELAY_S later, so a lost machine loses no more than that.
"""

import asyncio
import json
import os
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

JsonObject: TypeAlias = dict[str, Any]
"""A JSON object as the simulators handle them: providers' shapes differ too much for one type each."""

ROWS_MAX = 20_000
"""Rows of one log kept in memory and read back at start; older ones stay in the file."""
FSYNC_DELAY_S = 0.04
FILE_BYTES_MAX = 64 * 1024 * 1024
"""A log that grew larger is set aside as <name>.old (one generation) when the next row comes."""
READ_BACK_BYTES_MAX = 32 * 1024 * 1024
"""No more than this is read from the end of a log at start."""

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class Disk:
    """The folder of the logs; fsyncs them in the background, all that changed at once."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self._dirty: set[int] = set()
        self._due = False
        self._worker = ThreadPoolExecutor(1, "fsync")

    def changed(self, fd: int) -> None:
        """Remember that this file wants an fsync."""
        self._dirty.add(fd)
        if not self._due:
            try:
                asyncio.get_running_loop().call_later(FSYNC_DELAY_S, self._start)
            except RuntimeError:
                return
            self._due = True

    def _start(self) -> None:
        self._due = False
        fds, self._dirty = self._dirty, set()
        self._worker.submit(_fsync, fds)

    def close(self) -> None:
        """Write out what is left."""
        _fsync(self._dirty)
        self._dirty = set()
        self._worker.shutdown()


def _fsync(fds: set[int]) -> None:
    for fd in fds:
        try:
            os.fsync(fd)
        except OSError:
            # The log was set aside and closed meanwhile; closing never loses what was written.
            continue


class Journal:
    """One log. Every row gets a running number `n` and the wall time `at`."""

    def __init__(self, disk: Disk, name: str) -> None:
        self.name = name
        self._disk = disk
        self._path = disk.folder / f"{name}.jsonl"
        self._rows: deque[bytes] = deque(maxlen=ROWS_MAX)
        self.last = 0
        self._read_back()
        self._open()

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._size = os.fstat(self._fd).st_size

    def _read_back(self) -> None:
        lines: list[bytes] = []
        for path in (self._path.with_suffix(".old"), self._path):
            if not path.exists():
                continue
            with path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - READ_BACK_BYTES_MAX))
                if size > READ_BACK_BYTES_MAX:
                    file.readline()
                data = file.read()
            lines += data.splitlines()[-ROWS_MAX:]
            if path == self._path and data and not data.endswith(b"\n"):
                # A machine died inside a write: the torn row is not a row, and the next one starts a new line.
                with path.open("ab") as file:
                    file.write(b"\n")
        for line in lines[-ROWS_MAX:]:
            try:
                self.last = int(json.loads(line)["n"])
            except (ValueError, KeyError, TypeError):
                continue
            self._rows.append(line)

    def append(self, row: JsonObject) -> int:
        """Write one row down; returns its number."""
        self.last += 1
        second, part = divmod(time.time_ns() // 1_000_000, 1000)
        at = f"{_second(second)}.{part:03}Z"
        text = _encode({"n": self.last, "at": at, **row}).encode("utf-8", "backslashreplace")
        if self._size > FILE_BYTES_MAX:
            self._set_aside()
        self._size += os.write(self._fd, text + b"\n")
        self._rows.append(text)
        self._disk.changed(self._fd)
        return self.last

    def _set_aside(self) -> None:
        os.fsync(self._fd)
        os.close(self._fd)
        self._path.replace(self._path.with_suffix(".old"))
        self._open()

    def since(self, number: int) -> list[bytes]:
        """Rows with a higher number, oldest first, as JSON."""
        count = min(max(0, self.last - number), len(self._rows))
        start = len(self._rows) - count
        return [self._rows[i] for i in range(start, len(self._rows))] if count < len(self._rows) else list(self._rows)

    def rows(self) -> Iterator[JsonObject]:
        """Everything in memory, oldest first."""
        for line in self._rows:
            yield json.loads(line)

    def as_json(self, number: int = 0) -> bytes:
        """Rows with a higher number as one JSON array."""
        return b"[" + b",\n".join(self.since(number)) + b"]"

    def close(self) -> None:
        """Close the file; every row is already in it."""
        os.fsync(self._fd)
        os.close(self._fd)
