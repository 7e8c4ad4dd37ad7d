"""Mail: what the sink takes, refuses, and drops; aiosmtplib as referee."""

import asyncio
from email.message import EmailMessage

import aiosmtplib
import pytest

from bot.sandbox.smtp import MAIL_BYTES_MAX
from tests.bot.sandbox.conftest import Lab
from tests.waiting import until


def mail(text: str = "Habari\n.\n..dots\n") -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "Mathia <bot@mathia.example>", "ada@example.com", "Kumbusho: chai ☕"
    made["Message-ID"] = "<1.2@mathia.example>"
    made.set_content(text)
    return made


async def send(lab: Lab, message: EmailMessage, timeout_s: float = 5) -> None:
    await aiosmtplib.send(
        message, hostname="127.0.0.1", port=lab.simulators.smtp_port, timeout=timeout_s, start_tls=False
    )


async def test_mail_is_written_down_as_it_was_meant(lab: Lab) -> None:
    await send(lab, mail())
    row = (await lab.truth("smtp"))[0]
    assert (row["from"], row["to"]) == ("bot@mathia.example", ["ada@example.com"])
    assert (row["subject"], row["message_id"]) == ("Kumbusho: chai ☕", "<1.2@mathia.example>")
    assert row["text"].splitlines() == ["Habari", ".", "..dots"]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("421", aiosmtplib.SMTPSenderRefused),
        ("451", aiosmtplib.SMTPDataError),
        ("550", aiosmtplib.SMTPRecipientsRefused),
        ("drop", aiosmtplib.SMTPServerDisconnected),
        ("drop_after_data", aiosmtplib.SMTPServerDisconnected),
    ],
)
async def test_mail_fails_as_planned(lab: Lab, fault: str, error: type[Exception]) -> None:
    await lab.plan("smtp", fault)
    with pytest.raises(error):
        await send(lab, mail("long enough to be cut\n" * 20))
    assert len(await lab.truth("smtp")) == (1 if fault == "drop_after_data" else 0)
    await send(lab, mail())


async def test_a_hanging_mail_is_taken_once_it_is_let_go(lab: Lab) -> None:
    await lab.plan("smtp", {"fault": "hang", "seconds": 30})
    sending = asyncio.create_task(send(lab, mail(), timeout_s=20))

    async def met() -> bool:
        return bool((await lab.http.get("/smtp/_faults")).json()["met"])

    await until(met, 5, "the mail to hang")
    assert await lab.truth("smtp") == []
    await lab.http.post("/_heal")
    await sending
    assert len(await lab.truth("smtp")) == 1


async def test_wrong_commands_get_their_codes(lab: Lab) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", lab.simulators.smtp_port)

    async def say(line: str) -> str:
        writer.write(line.encode() + b"\r\n")
        answer = await asyncio.wait_for(reader.readline(), 5)
        while answer[3:4] == b"-":
            answer = await asyncio.wait_for(reader.readline(), 5)
        return answer.decode()[:3]

    assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"220 ")
    said = [
        await say(line)
        for line in (
            "MAIL FROM:<a@example.com>",
            "EHLO tests",
            "RCPT TO:<a@example.com>",
            "MAIL FROM:<nonsense>",
            f"MAIL FROM:<a@example.com> SIZE={MAIL_BYTES_MAX + 1}",
            "MAIL FROM:<a@example.com> SIZE=10",
            "DATA",
            "RCPT TO:<>",
            "RSET",
            "DANCE",
            "VRFY ada",
            "QUIT",
        )
    ]
    assert said == ["503", "250", "503", "501", "552", "250", "554", "501", "250", "502", "252", "221"]
    writer.close()
    await writer.wait_closed()
