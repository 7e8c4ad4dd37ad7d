"""Files that the application sends: what each simulated provider takes, and what it refuses as the provider would."""

import io
from typing import Any

import httpx
import pytest
from aiohttp import web
from PIL import Image

from bot.sandbox.accounts import ACCESS_TOKEN, ACCOUNT_SID, AUTH_TOKEN, BOT_TOKEN, PHONE_NUMBER_ID, WHATSAPP_FROM
from bot.sandbox.forms import Upload, multipart
from tests.bot.sandbox.conftest import App, Lab

MB = 1 << 20
BEARER = {"Authorization": f"Bearer {ACCESS_TOKEN}"}


def picture(width: int = 64, height: int = 64) -> bytes:
    drawn = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(drawn, "png")
    return drawn.getvalue()


async def upload(lab: Lab, data: bytes, media_type: str, **changes: Any) -> httpx.Response:
    fields = {"messaging_product": "whatsapp", "type": media_type} | changes
    return await lab.http.post(
        f"/whatsapp/v26.0/{PHONE_NUMBER_ID}/media", headers=BEARER,
        data={name: value for name, value in fields.items() if value},
        files={"file": ("a.bin", data, media_type)},
    )  # fmt: skip


async def send(lab: Lab, kind: str, **content: Any) -> httpx.Response:
    body = {"messaging_product": "whatsapp", "to": "254712345678", "type": kind, kind: content}
    return await lab.http.post(f"/whatsapp/v26.0/{PHONE_NUMBER_ID}/messages", headers=BEARER, json=body)


async def test_meta_takes_a_file_and_shows_it_by_its_id(lab: Lab) -> None:
    given = await upload(lab, picture(), "image/png")
    assert given.status_code == 200, given.text
    number = given.json()["id"]
    assert (await send(lab, "image", id=number, caption="Look")).status_code == 200
    kinds = [(row["kind"], row.get("type")) for row in await lab.truth("whatsapp")]
    assert ("upload", "image/png") in kinds


@pytest.mark.parametrize(
    ("data", "media_type", "changes", "code"),
    [
        (b"id,name\n", "text/csv", {}, 100),
        (b"RIFF", "audio/wav", {}, 100),
        (b"", "text/plain", {}, 131053),
        (b"GIF89a", "image/png", {}, 131053),
        (b"\xff\xd8\xff" + bytes(5 * MB), "image/jpeg", {}, 131053),
        (b"OggS" + bytes(16 * MB), "audio/ogg", {}, 131053),
        (picture(), "image/png", {"messaging_product": None}, 100),
    ],
)
async def test_meta_refuses_a_file_it_does_not_take(
    lab: Lab, data: bytes, media_type: str, changes: dict[str, Any], code: int
) -> None:
    answer = await upload(lab, data, media_type, **changes)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert not [row for row in await lab.truth("whatsapp") if row["kind"] == "upload"]


async def test_meta_refuses_an_id_it_does_not_know_and_a_file_of_another_kind(lab: Lab) -> None:
    assert (await send(lab, "image", id="123")).json()["error"]["code"] == 100
    number = (await upload(lab, picture(), "image/png")).json()["id"]
    assert (await send(lab, "document", id=number, filename="a.png")).json()["error"]["code"] == 131009


async def telegram(lab: Lab, method: str, field: str, data: bytes, name: str = "a.png") -> httpx.Response:
    return await lab.http.post(
        f"/telegram/bot{BOT_TOKEN}/{method}", data={"chat_id": "77001", "caption": "Look"},
        files={field: (name, data, "image/png")},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("method", "field"),
    [("sendPhoto", "photo"), ("sendDocument", "document"), ("sendVideo", "video"), ("sendAudio", "audio"),
     ("sendVoice", "voice")],
)  # fmt: skip
async def test_telegram_takes_a_file_in_the_form(lab: Lab, method: str, field: str) -> None:
    answer = await telegram(lab, method, field, picture())
    assert answer.status_code == 200, answer.text
    message = answer.json()["result"]
    assert message["caption"] == "Look"
    shown = message[field][-1] if field == "photo" else message[field]
    found = (await lab.http.get(f"/telegram/bot{BOT_TOKEN}/getFile", params={"file_id": shown["file_id"]})).json()
    assert found["result"]["file_size"] == len(picture())


@pytest.mark.parametrize(
    ("method", "field", "data", "why"),
    [
        ("sendPhoto", "photo", b"", "file must be non-empty"),
        ("sendPhoto", "photo", b"not a picture", "IMAGE_PROCESS_FAILED"),
        ("sendPhoto", "photo", picture(4_200, 200), "PHOTO_INVALID_DIMENSIONS"),
        ("sendPhoto", "photo", picture() + bytes(10 * MB), "too big for a photo"),
        ("sendDocument", "document", bytes(50 * MB + 1), "Request Entity Too Large"),
        ("sendDocument", "photo", picture(), "there is no document in the request"),
    ],
)
async def test_telegram_refuses_a_file_it_does_not_take(
    lab: Lab, method: str, field: str, data: bytes, why: str
) -> None:
    answer = await telegram(lab, method, field, data)
    assert answer.status_code == (413 if "Entity" in why else 400)
    assert why in answer.json()["description"]


@pytest.mark.parametrize(
    ("status", "media_type", "size", "code"),
    [(200, "image/png", 64, None), (200, "image/png", 5 * MB + 1, 11751), (200, "video/mp4", 5 * MB + 1, None),
     (200, "video/mp4", 16 * MB + 1, 11751), (200, "text/csv", 64, 12300), (404, "image/png", 64, 63019)],
)  # fmt: skip
async def test_twilio_fetches_what_it_is_to_send(
    lab: Lab, app: App, status: int, media_type: str, size: int, code: int | None
) -> None:
    app.answers = [web.Response(status=status, body=bytes(size), content_type=media_type)]
    answer = await lab.http.post(
        f"/twilio/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json", auth=(ACCOUNT_SID, AUTH_TOKEN),
        data={"To": "whatsapp:+254712345679", "From": WHATSAPP_FROM, "MediaUrl": f"{app.url}/files/1?proof=2"},
    )  # fmt: skip
    assert answer.status_code == 201
    [row] = [row for row in await lab.truth("twilio") if row["kind"] == "send"]
    assert row.get("error_code") == code
    assert [file["size"] for file in row.get("files", [])] == ([] if code else [size])


def test_a_form_is_read_as_it_was_written() -> None:
    data = bytes(range(256)) + b"\r\n--x\n"
    built = httpx.Request(
        "POST", "http://x", data={"caption": "Habari 👋"}, files={"file": ("é.bin", data, "image/png")}
    )
    form = multipart(built.headers["Content-Type"], built.read())
    assert form["caption"] == "Habari 👋"
    assert form["file"] == Upload("é.bin", "image/png", data)
    with pytest.raises(ValueError, match="not whole"):
        multipart(built.headers["Content-Type"], built.read()[:-20])
