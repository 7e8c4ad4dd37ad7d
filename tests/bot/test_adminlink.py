"""`admin-link`: what it prints signs in, and what is wrong is a sentence."""

import os
import subprocess
import sys
from pathlib import Path

from core.db import Database
from tests.web_admin.site import running

LIMIT_S = 60


def run(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a person would."""
    settings = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "PUBLIC_URL")}
    return subprocess.run(
        [sys.executable, "-m", "bot", "admin-link", *words],
        env=settings | env,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


async def test_the_printed_link_signs_in(db: Database, database_url: str, valkey_url: str) -> None:
    done = run("--staff", "amina", "--port", "9999", DATABASE_URL=database_url)
    assert done.returncode == 0, done.stderr
    address, sentence = done.stdout.splitlines()
    assert address.startswith("http://127.0.0.1:9999/admin/sign-in?token=")
    assert sentence == "It signs amina in once, within 15 minutes."
    async with running(db, valkey_url) as site, site.stranger() as browser:
        answer = await browser.post("/admin/sign-in", {"token": address.partition("token=")[2]})
        assert answer.status == 303
        assert "Signed in as <strong>amina</strong>" in (await browser.get("/admin/")).text


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    for words, env, sentence in (
        (("--data", str(tmp_path / "none")), {}, "There is no data in"),
        ((), {"DATABASE_URL": f"postgresql://x@/x?host={tmp_path}"}, "The database does not answer."),
        (("--staff", "<b>"), {}, "a name has 1 to 40 letters"),
        (("--port", "99999"), {}, "is not a port"),
    ):
        done = run(*words, **env)
        assert done.returncode != 0
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr
