"""`up` from start to end: one command, real servers, real signals."""

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from core.crypto import KeyList
from tests.waiting import until_now

ROOT = Path(__file__).resolve().parents[2]
START_LIMIT_S = 60.0
STOP_LIMIT_S = 10.0
OURS = re.compile(r"(DATABASE|REDIS|TEMPORAL|SANDBOX|MATHIA|PUBLIC|TWILIO|META|TELEGRAM|PORT$|HOST$|ENVIRONMENT$)")


class Up:
    """A running `up` and what it says."""

    def __init__(self, data: Path, *words: str, **settings: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not OURS.match(name)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bot", "up", "--data", str(data), *words],
            cwd=ROOT, env=environment | settings, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.data = data
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout as said:
            for line in said:
                self.lines.append(line.rstrip())

    @property
    def said(self) -> str:
        """Everything so far."""
        return "\n".join(self.lines)

    def ready(self) -> "Up":
        """Wait for the line that says so."""
        until_now(lambda: self.process.poll() is not None or "ready in" in self.said, START_LIMIT_S, "being ready")
        assert self.process.poll() is None, self.said
        return self

    def says(self, text: str) -> None:
        """Wait for a line that holds `text`."""
        until_now(lambda: text in self.said, START_LIMIT_S, f"{text!r} being said")

    def address(self, name: str) -> str:
        """The address on the line of that name."""
        return next(line.split()[1] for line in self.lines if line.split()[:1] == [name])

    @property
    def port(self) -> int:
        """Where the web server listens."""
        return int(re.findall(r":(\d+)/", self.address("chat"))[0])

    def get(self, path: str) -> tuple[int, str]:
        """GET a path: status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def children(self) -> dict[str, psutil.Process]:
        """The servers and simulators by the name of their pid file."""
        return {file.stem: psutil.Process(int(file.read_text().split()[0])) for file in self.data.glob("*.pid")}

    def stop_reading(self) -> None:
        """Take in what an ended process said last."""
        self._reader.join(STOP_LIMIT_S)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Stop it with a signal; the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(STOP_LIMIT_S)
        self.stop_reading()
        return code


@contextmanager
def up(data: Path, *words: str, **settings: str) -> Iterator[Up]:
    """`up` on a free port, killed with its children at the end where it still runs."""
    running = Up(data, "--port", "0", *words, **settings)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            for child in psutil.Process(running.process.pid).children(recursive=True):
                child.kill()
            running.process.kill()
            running.process.wait()


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder that servers running as another user can reach."""
    path = Path(tempfile.mkdtemp(prefix="mathia-t-"))
    path.chmod(0o711)
    yield path / "data"
    shutil.rmtree(path, ignore_errors=True)


def gone(process: psutil.Process) -> bool:
    """Whether the process has ended."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_up_serves_refuses_a_second_mends_its_servers_and_stops_cleanly(data: Path) -> None:
    with up(data) as running:
        running.ready()
        assert re.search(r"^ready in \d+\.\d s$", running.said, re.MULTILINE)
        for path in ("/healthz", "/readyz", "/chat", "/widget.js", "/sandbox"):
            assert running.get(path)[0] == 200, path
        assert running.address("admin").startswith(f"http://127.0.0.1:{running.port}/admin/sign-in?token=")
        assert running.get("/admin/")[0] in (302, 303, 401, 403)
        assert running.address("workflows").startswith("http://127.0.0.1:")

        with up(data) as second:
            assert second.process.wait(START_LIMIT_S) == 1
            second.stop_reading()
            assert second.said == (
                f"Mathia is already running with the data in {data} (process {running.process.pid})."
                " Stop it first, or choose another folder with --data."
            )

        children = running.children()
        assert set(children) == {"postgres", "valkey", "temporal"}
        for name in ("valkey", "postgres"):
            children[name].kill()
            running.says(f"{name} is back")
            until_now(lambda: running.get("/readyz")[0] == 200, START_LIMIT_S, "being ready again")

        children = running.children()
        assert running.stop(signal.SIGINT) == 0
        assert all(gone(child) for child in children.values())
        assert "Traceback" not in running.said


def test_killed_up_leaves_nothing_running_and_the_next_start_serves(data: Path) -> None:
    with up(data, "--no-sandbox") as first:
        children = first.ready().children()
        assert set(children) == {"postgres", "valkey", "temporal"}
        first.process.kill()
        first.process.wait()
        # The next one starts at once, while the old children may still be stopping.
        with up(data, "--no-sandbox") as second:
            assert second.ready().get("/readyz")[0] == 200
            until_now(lambda: all(gone(child) for child in children.values()), what="the end of the first's children")
            assert second.stop(signal.SIGTERM) == 0


def test_split_processes_are_started_again_and_end_with_up(data: Path) -> None:
    with up(data, "--split") as first:
        children = first.ready().children()
        assert len(children) == 7
        children["web"].kill()
        first.says("web is back")
        assert first.get("/healthz")[0] == 200
        children = first.children()
        first.process.kill()
        first.process.wait()
        with up(data, "--split") as second:
            assert second.ready().get("/readyz")[0] == 200
            until_now(lambda: all(gone(child) for child in children.values()), what="the end of the first's children")
            assert second.stop() == 0


def test_taken_port_is_said_before_anything_is_started(data: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        running = Up(data, "--port", str(port))
        assert running.process.wait(START_LIMIT_S) == 1
        running.stop_reading()
        assert f"Port {port} is used by another program" in running.said
        assert "--port" in running.said
        assert "Traceback" not in running.said
        assert not list(data.glob("*.pid"))


@pytest.mark.parametrize(
    ("words", "settings", "sentence"),
    [
        (["--port", "99999"], {}, "'99999' is not a port from 0 to 65535"),
        (["--port", "x" * 5000], {}, "is not a port from 0 to 65535"),
        (["--prot", "1"], {}, "unrecognized arguments: --prot 1"),
        ([], {"DEFAULT_TIMEZONE": "Mars/Olympus"}, "Setting DEFAULT_TIMEZONE: 'Mars/Olympus' is not an IANA time zone"),
        ([], {"PORT": "many"}, "Setting PORT: Input should be a valid integer"),
        ([], {"ENVIRONMENT": "production"}, "MATHIA_KEYS must be set in production"),
        (
            [],
            {"ENVIRONMENT": "production", "MATHIA_KEYS": KeyList.new().written()},
            "PUBLIC_URL must be the https:// address",
        ),
    ],
    ids=["port too high", "port too long", "option", "zone", "port", "production without keys", "production"],
)
def test_wrong_arguments_and_settings_are_one_sentence_each(
    data: Path, words: list[str], settings: dict[str, str], sentence: str
) -> None:
    running = Up(data, *words, **settings)
    assert running.process.wait(START_LIMIT_S) == 2
    running.stop_reading()
    assert sentence in running.said
    assert "Traceback" not in running.said
    assert len(running.said) < 1000


def test_slip_in_the_settings_file_is_told(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TWILLIO_ACCOUNT_SID=AC1\nINTASEND_SECRET_KEY=other\n# TELEGRAM_BOT_TOKE=x\n")
    done = subprocess.run(
        [sys.executable, "-m", "bot", "migrate"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.strip() == ".env: TWILLIO_ACCOUNT_SID is not a setting. Did you mean TWILIO_ACCOUNT_SID?"
