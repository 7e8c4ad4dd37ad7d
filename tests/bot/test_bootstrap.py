"""`python3 -m bot` on a machine with nothing but Python: a small tree with a lock file of one package of our own."""

import base64
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.waiting import until_now

ROOT = Path(__file__).resolve().parents[2]
AS_ROOT = os.geteuid() == 0
SYSTEM_PYTHON = Path("/usr/bin/python3")
LIMIT_S = 120
CLI_LIMIT_S = 0.4
CLI = '''"""Says where it runs."""
import json, sys

def main(words):
    try:
        import probe
        version = probe.VERSION
    except ImportError:
        version = None
    print(json.dumps({"prefix": sys.prefix, "words": list(words), "probe": version}))
    return 7
'''


class Tree:
    """A checkout with the real bootstrap, a CLI that says where it runs, and wheels in a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path / "a checkout"
        self.wheels = path / "wheels"
        self.home = path / "home"
        (self.path / "bot").mkdir(parents=True)
        self.wheels.mkdir()
        self.home.mkdir()
        for name in ("__init__.py", "__main__.py"):
            shutil.copy(ROOT / "bot" / name, self.path / "bot" / name)
        (self.path / "bot" / "cli.py").write_text(CLI)
        self.lock("requirements.lock", self.wheel("1.0"))
        self.lock("requirements-dev.lock", self.wheel("1.0"), self.wheel("1.0", "probe_dev"))

    def wheel(self, version: str, name: str = "probe", megabytes: int = 0) -> Path:
        """A wheel of one module; the digest of the file is what a lock holds."""
        path = self.wheels / f"{name}-{version}-py3-none-any.whl"
        if path.exists():
            return path
        info = f"{name}-{version}.dist-info"
        files = {
            f"{name}.py": f"VERSION = {version!r}\n".encode(),
            f"{name}_data.bin": os.urandom(megabytes << 20),
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = "".join(
            f"{file},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip('=')},{len(data)}\n"
            for file, data in files.items()
        )
        with zipfile.ZipFile(path, "w") as archive:
            for file, data in files.items():
                archive.writestr(file, data)
            archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
        return path

    def lock(self, file: str, *wheels: Path, digest: str = "") -> None:
        """Write a lock file of these wheels."""
        (self.path / file).write_text(
            "".join(
                "{}=={} \\\n    --hash=sha256:{}\n".format(
                    *wheel.name.split("-")[:2], digest or hashlib.sha256(wheel.read_bytes()).hexdigest()
                )
                for wheel in wheels
            )
        )

    def start(self, *words: str, python: Path | None = None, user: int | None = None) -> "subprocess.Popen[str]":
        """Start `python -m bot WORDS` with an empty home and no package index."""
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels),
            "PIP_CONFIG_FILE": os.devnull, "PIP_USER": "1",
        }  # fmt: skip
        return subprocess.Popen(
            [python or real_python(), "-m", "bot", *words],
            cwd=self.path, env=environment, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            user=user, group=user, extra_groups=None if user is None else [],
        )  # fmt: skip

    def run(self, *words: str, code: int = 7, python: Path | None = None, user: int | None = None) -> str:
        """Run to the end; what it said."""
        process = self.start(*words, python=python, user=user)
        said, _ = process.communicate(timeout=LIMIT_S)
        assert process.returncode == code, said
        return said


def real_python() -> Path:
    """The Python that made the environment the tests run in."""
    return Path(sys.base_prefix) / "bin" / "python3"


def last(said: str) -> dict[str, object]:
    """The line of the CLI."""
    line: dict[str, object] = json.loads(said.strip().splitlines()[-1])
    return line


@pytest.fixture
def tree() -> Iterator[Tree]:
    """A fresh tree that everybody may enter."""
    path = Path(tempfile.mkdtemp(prefix="mathia-t-"))
    path.chmod(0o755)
    yield Tree(path)
    shutil.rmtree(path, ignore_errors=True)


def test_help_is_shown_without_installing_anything(tree: Tree) -> None:
    for words in ([], ["-h"], ["--help"]):
        assert last(tree.run(*words)) == {"prefix": sys.base_prefix, "words": words, "probe": None}
    assert not (tree.path / ".venv").exists()


def test_first_start_installs_and_later_ones_reach_the_cli_at_once(tree: Tree) -> None:
    said = tree.run("up", "--port", "1", "a b")
    assert last(said) == {"prefix": str(tree.path / ".venv"), "words": ["up", "--port", "1", "a b"], "probe": "1.0"}
    assert re.search(r"^installed in \d+ s$", said, re.MULTILINE)
    again = tree.run("up")
    assert len(again.splitlines()) == 1
    took = []
    for _ in range(5):
        started = time.monotonic()
        tree.run("up")
        took.append(time.monotonic() - started)
    assert min(took) < CLI_LIMIT_S

    # A changed list is installed on top, the next start after that says nothing again.
    tree.lock("requirements.lock", tree.wheel("2.0"))
    assert last(tree.run("up"))["probe"] == "2.0"
    assert len(tree.run("up").splitlines()) == 1

    # A list that cannot be installed is refused with what pip said; put right, it is installed.
    tree.lock("requirements.lock", tree.wheel("3.0"), digest="0" * 64)
    refused = tree.run("up", code=1)
    assert "pip could not install the packages" in refused
    assert "hash" in refused.lower()
    assert "then run the same command again" in refused
    assert "Traceback" not in refused
    tree.lock("requirements.lock", tree.wheel("3.0"))
    assert last(tree.run("up"))["probe"] == "3.0"

    # Tests and checks need more packages, which nothing else waits for.
    packages = next((tree.path / ".venv" / "lib").glob("*/site-packages"))
    assert not (packages / "probe_dev.py").exists()
    tree.lock("requirements-dev.lock", tree.wheel("3.0"), tree.wheel("1.0", "probe_dev"))
    tree.run("test")
    assert (packages / "probe_dev.py").exists()

    # They hold what runs, which is then there too, in the same version only.
    tree.lock("requirements.lock", tree.wheel("2.0"))
    tree.lock("requirements-dev.lock", tree.wheel("2.0"))
    tree.run("test")
    assert len(tree.run("up").splitlines()) == 1
    tree.lock("requirements.lock", tree.wheel("1.0"))
    tree.lock("requirements-dev.lock", tree.wheel("3.0"))
    tree.run("test")
    assert last(tree.run("up"))["probe"] == "1.0"


def test_start_killed_while_installing_is_made_good_once_by_two_starts_at_once(tree: Tree) -> None:
    tree.lock("requirements.lock", tree.wheel("1.0", "big", megabytes=40), tree.wheel("1.0"))
    first = tree.start("up")
    until_now(lambda: (tree.path / ".venv" / ".unfinished").exists(), LIMIT_S, "pip being started")
    until_now(lambda: psutil.Process(first.pid).children(), LIMIT_S, "pip")
    pip = psutil.Process(first.pid).children()[0]
    os.kill(first.pid, signal.SIGKILL)
    pip.kill()
    first.communicate()
    assert not (tree.path / ".venv" / ".installed-requirements").exists()

    both = [tree.start("up", str(number)) for number in range(2)]
    said = [process.communicate(timeout=LIMIT_S)[0] for process in both]
    assert [process.returncode for process in both] == [7, 7]
    assert [last(text)["words"] for text in said] == [["up", "0"], ["up", "1"]]
    assert [last(text)["probe"] for text in said] == ["1.0", "1.0"]
    assert sorted(len(re.findall("First start", text)) for text in said) == [0, 1]
    assert sorted(len(re.findall("installed in", text)) for text in said) == [0, 1]


def test_python_without_its_venv_package_is_told_what_to_install(tree: Tree) -> None:
    # As on Debian without python3-venv, where the module ensurepip is not there.
    without = "import sys, runpy; sys.modules['ensurepip'] = None; runpy.run_module('bot', run_name='__main__')"
    done = subprocess.run(
        [real_python(), "-c", without, "up"],
        cwd=tree.path, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "apt-get install python3-venv" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not AS_ROOT or not SYSTEM_PYTHON.exists(), reason="needs root, to become a plain user")
def test_plain_user_installs_into_a_checkout_of_its_own_and_is_refused_in_anothers(tree: Tree) -> None:
    nobody = 65534
    refused = tree.run("up", code=1, python=SYSTEM_PYTHON, user=nobody)
    assert "may not write there" in refused
    for path in (tree.path, *tree.path.rglob("*"), tree.home):
        os.chown(path, nobody, nobody)
    said = tree.run("up", python=SYSTEM_PYTHON, user=nobody)
    assert last(said)["prefix"] == str(tree.path / ".venv")


def test_every_runtime_pin_is_the_same_in_the_development_list() -> None:
    def pins(file: str) -> dict[str, str]:
        return dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (ROOT / file).read_text(), re.MULTILINE))

    development = pins("requirements-dev.lock")
    assert {name: development.get(name) for name in pins("requirements.lock")} == pins("requirements.lock")


def test_lock_files_pin_every_package_by_hash_and_name_no_host() -> None:
    for file in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / file).read_text()
        assert "://" not in text
        for block in re.split(r"\n(?=[A-Za-z0-9])", text):
            if re.match(r"[A-Za-z0-9]", block):
                assert re.match(r"[A-Za-z0-9._-]+==\S+", block), block[:80]
                assert "--hash=sha256:" in block, block[:80]
