"""`python3 -m bot`: makes .venv from the hash-locked list of packages, goes on inside it, and hands over to the CLI.

Standard library only. The list is installed again, on top, whenever it has changed; a kill in the middle is made good
by the next start, and of two starts at once one waits.
"""

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036  whoever has an older one should read this sentence
    sys.exit("Mathia needs Python 3.11 or newer; this is Python " + sys.version.split()[0] + ".")
if os.name != "posix":
    sys.exit("Mathia runs on Linux and macOS; on Windows use it inside WSL 2.")

import fcntl
import hashlib
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
RUNTIME_LOCK = ROOT / "requirements.lock"
DEV_LOCK = ROOT / "requirements-dev.lock"
DEV_COMMANDS = frozenset({"test", "check", "bench", "train"})
UNFINISHED = VENV / ".unfinished"
"""Is there while packages are being installed; found at a start, it means that a kill left a half install."""
STARTED = "MATHIA_STARTED"
"""Environment variable: the monotonic clock when the command was started, or when installing ended."""
PLAIN_STEP = 10
"""Without a terminal, progress is a line for every so many packages."""
KEPT_LINES = 15
"""How much of pip's output is shown when it fails."""


def main() -> None:
    """Make sure of the packages this command needs, then run it inside .venv."""
    os.environ.setdefault(STARTED, str(time.monotonic()))
    words = sys.argv[1:]
    if words and words[0] not in ("-h", "--help"):
        lock = DEV_LOCK if words[0] in DEV_COMMANDS else RUNTIME_LOCK
        inside = Path(sys.prefix).resolve() == VENV.resolve()
        if not installed(lock):
            install(lock, may_clear=not inside)
            os.environ[STARTED] = str(time.monotonic())
        if not inside:
            # PYTHONHOME would make the new interpreter look for its library in the wrong place.
            os.environ.pop("PYTHONHOME", None)
            # glibc would keep a heap for each of the threads; two are enough and save some 20 MiB. It would also raise
            # its thresholds with what is freed, and then keep what importing needed only for a moment.
            os.environ.setdefault("MALLOC_ARENA_MAX", "2")
            os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", "131072")
            os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", "131072")
            os.execv(PYTHON, [str(PYTHON), "-X", "utf8", "-m", "bot", *words])  # noqa: S606  no shell is wanted
    from bot.cli import main as run

    code = run(words)
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    # Everything has been closed by now; taking all objects apart one by one would take longer than stopping did.
    os._exit(code)


def stamp(lock: Path) -> Path:
    """The file that says which version of `lock` is installed; written last."""
    return VENV / f".installed-{lock.stem}"


def digest(lock: Path) -> str:
    """What the stamp of an up-to-date install holds."""
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def pins(lock: Path) -> set[str]:
    """Each package of the list with its version."""
    return set(re.findall(r"^[A-Za-z0-9._-]+==[^\s;]+", lock.read_text(), re.MULTILINE))


def installed(lock: Path) -> bool:
    """Whether .venv has exactly this list and can be entered."""
    try:
        return stamp(lock).read_text() == digest(lock) and not UNFINISHED.exists() and os.access(PYTHON, os.X_OK)
    except OSError:
        return False


def install(lock: Path, *, may_clear: bool) -> None:
    """Bring .venv to `lock`; ends the process with a sentence where that cannot be."""
    with alone() as held:
        if installed(lock):
            return  # Somebody else just did it.
        if not os.access(ROOT, os.W_OK):
            sys.exit(f"Mathia installs its packages into {VENV}, and this user may not write there.")
        started = time.monotonic()
        if not usable() or UNFINISHED.exists():
            if not may_clear:
                sys.exit(f"{VENV} is only half installed. Run this command with python3 instead of {sys.executable}.")
            create()
        UNFINISHED.touch()
        stamp(lock).unlink(missing_ok=True)
        pip_install(lock, held)
        stamp(lock).write_text(digest(lock))
        if pins(RUNTIME_LOCK) <= pins(lock):
            stamp(RUNTIME_LOCK).write_text(digest(RUNTIME_LOCK))
        UNFINISHED.unlink()
        print(f"installed in {time.monotonic() - started:.0f} s", flush=True)


@contextmanager
def alone() -> Iterator[int]:
    """Hold the lock of this checkout: an open file descriptor, which pip inherits so that it holds while pip runs."""
    held = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Waiting for another start to finish installing ...", flush=True)
            fcntl.flock(held, fcntl.LOCK_EX)
        yield held
    finally:
        os.close(held)


def usable() -> bool:
    """Whether .venv has a Python new enough that can run pip."""
    probe = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
    try:
        return subprocess.run([str(PYTHON), "-I", "-c", probe], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def create() -> None:
    """Make .venv anew, with pip in it."""
    remedy = (
        "Python's venv module is incomplete here, so packages cannot be installed apart from the system's.\n"
        "On Debian or Ubuntu: apt-get install python3-venv\nThen run the same command again."
    )
    try:
        import ensurepip  # noqa: F401  Debian takes it out of Python and puts it into a package of its own
        import venv
    except ImportError:
        sys.exit(remedy)
    print(f"First start: installing Mathia's packages into {VENV}", flush=True)
    try:
        if VENV.is_symlink() or VENV.is_file():
            VENV.unlink()
        shutil.rmtree(VENV, ignore_errors=True)
        venv.create(VENV, with_pip=True, clear=True, symlinks=True)
    except subprocess.CalledProcessError as error:
        sys.exit(f"{remedy}\n({str(error.output or error)[-500:]})")
    except OSError as error:
        sys.exit(f"{VENV} cannot be made: {error}")


def pip_install(lock: Path, held: int) -> None:
    """Run pip on `lock` and show how far it is."""
    wanted = len(pins(lock))
    command = [
        str(PYTHON), "-I", "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar=off",
        "--only-binary", ":all:", "--require-hashes", "-r", str(lock),
    ]  # fmt: skip
    # PIP_USER, which some systems set, cannot work in a virtual environment.
    environment = os.environ | {"PIP_USER": "0", "PIP_ROOT_USER_ACTION": "ignore", "PYTHONUNBUFFERED": "1"}
    environment.pop("PIP_REQUIRE_HASHES", None)
    pip = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=environment, text=True, errors="replace", pass_fds=[held],
    )  # fmt: skip
    try:
        said = follow(pip, wanted)
    except KeyboardInterrupt:
        pip.terminate()
        pip.wait()
        sys.exit("\nInterrupted; the next start installs again from the beginning.")
    if pip.wait() != 0:
        tail = "\n  ".join(said[-KEPT_LINES:])
        sys.exit(
            f"pip could not install the packages:\n  {tail}\n"
            "Check the connection to your package index (PIP_INDEX_URL chooses one), then run the same command again."
        )


def follow(pip: "subprocess.Popen[str]", wanted: int) -> list[str]:
    """Read pip's output to its end, showing progress; the last lines of it."""
    show = Progress()
    said: list[str] = []
    seen = 0
    for line in pip.stdout or ():
        said = [*said[-KEPT_LINES:], line.rstrip()]
        collecting = re.match(r"(?:Collecting|Requirement already satisfied:) ([A-Za-z0-9._-]+)", line)
        if collecting:
            seen += 1
            show(f"fetching {min(seen, wanted)} of {wanted} packages", seen, collecting.group(1))
        elif line.startswith("Installing collected packages:"):
            watch_folder(pip, line.count(",") + 1, show)
    show.end()
    return said


def watch_folder(pip: "subprocess.Popen[str]", expected: int, show: "Progress") -> None:
    """While pip writes packages, which it does without a word, count those that are complete."""
    site = next((VENV / "lib").glob("python3*/site-packages"))

    def complete() -> int:
        return sum(1 for _ in site.glob("*.dist-info/INSTALLER"))

    before = complete()
    while pip.poll() is None:
        done = min(complete() - before, expected)
        show(f"installing {done} of {expected} packages", done)
        time.sleep(0.1)


class Progress:
    """One line that changes on a terminal; else a plain line for every PLAIN_STEP packages."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()
        self._shown = ""

    def __call__(self, text: str, number: int, detail: str = "") -> None:
        """Show `text`; `detail` only where it costs no line."""
        if text == self._shown:
            return
        if self._live:
            print(f"\r\x1b[K{text} {detail}"[: shutil.get_terminal_size().columns + 4], end="", flush=True)
            self._shown = text
        elif number % PLAIN_STEP == 0 and number:
            print(text, flush=True)
            self._shown = text

    def end(self) -> None:
        """Leave the terminal's line clean."""
        if self._live:
            print("\r\x1b[K", end="", flush=True)


if __name__ == "__main__":
    main()
