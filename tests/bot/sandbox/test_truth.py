"""The truth logs: numbered, bounded, and still there after kill -9."""

import asyncio
import json
import signal
from pathlib import Path

import httpx

from bot.sandbox import truth
from bot.sandbox.accounts import ACCOUNT_SID, AUTH_TOKEN, BOT_TOKEN, WHATSAPP_FROM
from bot.sandbox.truth import Disk, Journal
from tests.bot.sandbox.conftest import NO_TLS, App, Simulators, listening
from tests.waiting import until

MESSAGES = f"/twilio/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"


async def test_kill_9_keeps_truth_history_waiting_messages_and_pending_updates(tmp_path: Path) -> None:
    app = App()
    async with listening(app):
        port = int(app.url.rpartition(":")[2])
    simulators = Simulators(tmp_path / "data", f"http://127.0.0.1:{port}")
    await asyncio.to_thread(simulators.start)
    try:
        async with httpx.AsyncClient(base_url=simulators.url, trust_env=False, timeout=10, verify=NO_TLS) as client:
            for n in range(3):
                fields = {"To": "whatsapp:+254712345678", "From": WHATSAPP_FROM, "Body": f"reply {n}"}
                sent = await client.post(MESSAGES, data=fields, auth=httpx.BasicAuth(ACCOUNT_SID, AUTH_TOKEN))
            await client.post(f"/telegram/bot{BOT_TOKEN}/sendMessage", json={"chat_id": 7000001, "text": "hi"})
            await client.post("/sandbox/api/send", json={"as": "whatsapp", "text": "nobody takes this yet"})
            await client.post("/sandbox/api/send", json={"as": "telegram", "text": "nor this"})
            before = {name: (await client.get(f"/{name}/_truth")).json() for name in ("twilio", "telegram")}
            history = (await client.get("/sandbox/api/history")).json()
        simulators.stop(signal.SIGKILL)
        await asyncio.to_thread(simulators.start)
        async with httpx.AsyncClient(base_url=simulators.url, trust_env=False, timeout=10, verify=NO_TLS) as client:
            after = {name: (await client.get(f"/{name}/_truth")).json() for name in before}
            assert after == before
            assert [row["body"] for row in after["twilio"]] == ["reply 0", "reply 1", "reply 2"]
            assert (await client.get("/sandbox/api/history")).json() == history
            one = MESSAGES.replace(".json", f"/{sent.json()['sid']}.json")
            assert (await client.get(one, auth=httpx.BasicAuth(ACCOUNT_SID, AUTH_TOKEN))).json()["body"] == "reply 2"
            updates = (await client.get(f"/telegram/bot{BOT_TOKEN}/getUpdates")).json()["result"]
            assert [update["message"]["text"] for update in updates] == ["nor this"]
            async with listening(app, port):
                got = await app.wait_for(1, 15)
                assert b"nobody+takes+this+yet" in got[0].body

                async def delivered() -> bool:
                    messages = (await client.get("/sandbox/api/history?as=whatsapp")).json()["messages"]
                    return bool(messages[-1]["status"] == "delivered")

                await until(delivered, 10, "the tick")
            await client.post(MESSAGES, data=fields, auth=httpx.BasicAuth(ACCOUNT_SID, AUTH_TOKEN))
            rows = (await client.get("/twilio/_truth", params={"since": 3})).json()
            assert [row["n"] for row in rows] == [4]
    finally:
        assert await asyncio.to_thread(simulators.stop) == 0


def test_a_log_keeps_its_newest_rows_and_its_numbers(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    journal = Journal(disk, "log")
    for n in range(truth.ROWS_MAX + 5):
        journal.append({"what": n})
    assert [json.loads(line)["what"] for line in journal.since(truth.ROWS_MAX + 3)] == [
        truth.ROWS_MAX + 3,
        truth.ROWS_MAX + 4,
    ]
    journal.close()
    again = Journal(disk, "log")
    rows = list(again.rows())
    assert len(rows) == truth.ROWS_MAX
    assert (rows[0]["n"], again.last) == (6, truth.ROWS_MAX + 5)
    again.close()
    disk.close()


def test_a_torn_last_row_is_left_out(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    journal = Journal(disk, "log")
    journal.append({"what": "whole"})
    journal.close()
    with (tmp_path / "log.jsonl").open("ab") as file:
        file.write(b'{"n":2,"what":"to')
    again = Journal(disk, "log")
    assert again.append({"what": "next"}) == 2
    again.close()
    last = Journal(disk, "log")
    assert [row["what"] for row in last.rows()] == ["whole", "next"]
    last.close()
    disk.close()


def test_a_large_log_is_set_aside_and_still_read(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    journal = Journal(disk, "log")
    line = "x" * (1024 * 1024)
    for _ in range(truth.FILE_BYTES_MAX // len(line) + 2):
        journal.append({"what": line})
    assert (tmp_path / "log.old").exists()
    last = journal.last
    journal.close()
    again = Journal(disk, "log")
    assert again.last == last
    assert len(list(again.rows())) > 1
    again.close()
    disk.close()
