"""The turns' pages: which are found, what is shown of one before and after words are asked for, and marks."""

import re
from typing import Any
from uuid import UUID

import pytest

from core.erasure import begin, remove
from core.sealed import seal_slots
from tests.web_admin.rows import Caller, answer, delivered, say
from tests.web_admin.site import Browser, Site

AMINA = Caller("Amina <b>", id="whatsapp:+254712345678")
WORDS = "send Otieno 500 at otieno@example.org, call 0722 123 456"


async def turn_of(site: Site, conversation: UUID) -> int:
    """The newest turn of a conversation."""
    found: int = await site.db.pool.fetchval("SELECT max(id) FROM turn WHERE conversation_id = $1", conversation)
    return found


async def asked(site: Site, caller: Caller, words: str, **meaning: Any) -> tuple[UUID, int, int]:
    """A message that was answered, understood so: its conversation, turn and number."""
    conversation, seq = await say(site.db, caller, words)
    turn = await turn_of(site, conversation)
    await answer(site.db, conversation, "Well.", meaning={name: v for name, v in meaning.items() if name != "slots"})
    if meaning.get("slots"):
        async with site.db.hot() as connection:
            key = await site.db.keys.of(connection, conversation)
            sealed = seal_slots(key, turn, [meaning])
            await connection.execute("UPDATE turn SET slots = $2 WHERE id = $1", turn, sealed)
    return conversation, turn, seq


async def audited(site: Site, *verbs: str) -> list[str]:
    """Which of these happened, in order, by whom to what."""
    rows = await site.db.pool.fetch("SELECT * FROM audit WHERE verb = ANY($1) ORDER BY id", list(verbs))
    return [f"{row['actor']} {row['verb']} {row['subject']}" for row in rows]


def shown(page: str) -> list[int]:
    """The turns in a list, in order."""
    return [int(number) for number in re.findall(r'class="open" href="/admin/turns/(\d+)"', page)]


async def test_the_list_finds_turns_by_each_filter_and_shows_no_words(site: Site, owner: Browser) -> None:
    assert "No turns yet" in (await owner.get("/admin/turns")).text
    _, weather, _ = await asked(
        site,
        AMINA,
        WORDS,
        action="get_weather",
        confidence=0.95,
        answer="ran",
        then=[{"action": "undo", "answer": "refused"}],
    )
    baraka = Caller("Baraka")
    _, guessed, _ = await asked(
        site, baraka, WORDS, action="none", guess="send_money", guessed=True, answer="did_you_mean", parser="claude"
    )
    _, old, _ = await asked(site, Caller("Zawadi"), WORDS, action="set_reminder", confidence=0.9)
    await site.db.pool.execute("UPDATE turn SET created_at = '2026-03-05T22:30:00Z' WHERE id = $1", old)
    conversation, _ = await say(site.db, Caller("web-1"), WORDS)
    waiting = await turn_of(site, conversation)
    page = await owner.get("/admin/turns")
    assert shown(page.text) == [waiting, old, guessed, weather]
    assert "Amina &lt;b&gt;" in page.text
    assert "send money" in page.text
    assert "Otieno" not in page.text
    for filters, found in {
        "action=get_weather": [weather],
        "action=send_money": [guessed],
        "action=undo": [weather],
        "parser=claude": [guessed],
        "parser=rules": [old, weather],
        "show=fallback": [guessed],
        "show=unanswered": [waiting],
        "show=marked": [],
        "channel=telegram": [],
        "channel=whatsapp&show=fallback": [guessed],
        # Half past ten in the evening in UTC is the next day in Nairobi.
        "day=2026-03-06": [old],
        "day=2026-03-05": [],
        f"before={guessed}": [weather],
        f"conversation={conversation}": [waiting],
    }.items():
        assert shown((await owner.get(f"/admin/turns?{filters}")).text) == found, filters


@pytest.mark.parametrize(
    "query",
    [
        "channel=fax",
        "day=yesterday",
        "day=9999-12-31",
        "action=A",
        "parser=x",
        "show=x",
        "before=x",
        "before=-1",
        "conversation=x",
    ],
)
async def test_an_address_that_means_nothing_is_refused_in_a_sentence(owner: Browser, query: str) -> None:
    page = await owner.get(f"/admin/turns?{query}")
    assert page.status == 400
    assert 'href="/admin/turns"' in page.text


async def test_a_long_list_is_read_page_by_page(site: Site, owner: Browser) -> None:
    conversation, _ = await say(site.db, AMINA, WORDS)
    await site.db.pool.execute(
        "INSERT INTO turn (conversation_id, first_seq, state, closed_at)"
        " SELECT $1, 1, 'done', now() FROM generate_series(1, 60)",
        conversation,
    )
    seen: list[int] = []
    address = "/admin/turns"
    for _ in range(2):
        page = (await owner.get(address)).text
        seen += shown(page)
        address = page.partition('rel="next" href="')[2].partition('"')[0]
    assert len(seen) == len(set(seen)) == 61
    assert seen == sorted(seen, reverse=True)
    assert address == ""


async def test_a_turn_shows_what_was_made_of_it_and_its_words_only_to_who_asks(site: Site, owner: Browser) -> None:
    conversation, turn, seq = await asked(
        site, AMINA, WORDS, action="send_money", confidence=0.81, guessed=True, answer="limited", limit="calls",
        parser="claude", model="claude-x", tokens_in=1200, tokens_out=80, steps=2, ms=950, fell=["compatible: timeout"],
        cost_usd="0.001200", slots={"amount": "a fiver"},
    )  # fmt: skip
    await delivered(site.db, conversation, seq + 1, "sent")
    await site.db.pool.execute(
        "UPDATE turn SET attempt = 2, created_at = created_at - interval '3 s' WHERE id = $1", turn
    )
    await site.db.pool.execute(
        "INSERT INTO receipt (key, person_id, conversation_id, action, params, state, finished_at)"
        " SELECT 'turn:' || $1::bigint || ':1:6', person_id, $2, 'send_money', '', 'failed', clock_timestamp()"
        " FROM identity",
        turn, conversation,
    )  # fmt: skip
    page = (await owner.get(f"/admin/turns/{turn}")).text
    for told in ("send money", "guessed, 81 % sure", "Over a limit",
                 "claude-x · after compatible: timeout · 1,200 tokens in, 80 out · 2 steps · USD 0.001200 · 950 ms",
                 "Failed", "3.0 s later", f"/admin/conversations/{conversation}"):  # fmt: skip
        assert told in page, told
    assert "Otieno" not in page
    assert "a fiver" not in page
    assert await audited(site, "turn.opened") == []
    page = (await owner.get(f"/admin/turns/{turn}?words=1")).text
    assert WORDS in page
    assert '<td dir="auto">a fiver</td>' in page
    assert await audited(site, "turn.opened") == [f"staff:owner turn.opened conversation:{conversation}"]
    for nothing in ("0", "x", "9" * 19, str(turn + 1)):
        assert (await owner.get(f"/admin/turns/{nothing}")).status == 404, nothing


async def test_a_message_is_marked_looked_through_given_out_and_taken_back(site: Site, owner: Browser) -> None:
    conversation, turn, seq = await asked(site, AMINA, WORDS, action="none", guess="send_email", answer="did_you_mean")
    csrf = await owner.csrf()
    marked = await owner.post(f"/admin/turns/{turn}/mark", {"csrf": csrf, "seq": str(seq), "meant": "send_money"})
    assert (marked.status, marked.headers["Location"]) == (303, f"/admin/turns/{turn}")
    assert shown((await owner.get("/admin/turns?show=marked")).text) == [turn]
    assert "Misunderstood, says" in (await owner.get(f"/admin/turns/{turn}")).text
    page = (await owner.get("/admin/corrections")).text
    assert WORDS in page
    assert "taken for send email" in page
    draft = page.partition('name="line" value="')[2].partition('"')[0]
    assert draft == "send Amina 500 at amina@example.com, call 0712 345 678"
    [number] = re.findall(r'action="/admin/corrections/(\d+)"', page)
    decided = {"csrf": csrf, "act": "accept", "meant": "send_money", "line": "  send Amina\t500 "}
    for wrong in ({"line": ""}, {"line": "# x"}, {"line": "x" * 301}, {"line": "a\x07b"}, {"meant": ""},
                  {"meant": "rob_bank"}, {"act": "publish"}):  # fmt: skip
        assert (await owner.post(f"/admin/corrections/{number}", decided | wrong)).status == 400, wrong
    assert (await owner.get("/admin/corrections/send_money.txt")).status == 404
    assert (await owner.post(f"/admin/corrections/{number}", decided)).status == 303
    file = await owner.get("/admin/corrections/send_money.txt")
    assert (file.status, file.text) == (200, "send Amina 500\n")
    assert file.headers["Content-Disposition"] == 'attachment; filename="send_money.txt"'
    assert b"Amina" not in await site.db.pool.fetchval("SELECT line FROM correction")
    assert (await owner.post(f"/admin/turns/{turn}/unmark", {"csrf": csrf, "seq": str(seq)})).status == 303
    assert await site.db.pool.fetchval("SELECT count(*) FROM correction") == 0
    here = f"conversation:{conversation}"
    assert await audited(
        site, "message.marked_wrong", "correction.accepted", "corrections.exported", "corrections.opened",
        "message.unmarked",
    ) == [
        f"staff:owner message.marked_wrong {here}", "staff:owner corrections.opened corrections",
        f"staff:owner correction.accepted {here}", "staff:owner corrections.exported corrections",
        f"staff:owner message.unmarked {here}",
    ]  # fmt: skip


async def test_what_is_no_message_of_the_turn_cannot_be_marked(site: Site, owner: Browser) -> None:
    _, turn, seq = await asked(site, AMINA, WORDS, action="none")
    _, other, _ = await asked(site, Caller("Baraka"), WORDS, action="none")
    csrf = await owner.csrf()
    for place, number, meant, status in (
        (turn, str(seq + 1), "", 404),  # The reply.
        (other, str(seq + 7), "", 404),
        (turn + 7, str(seq), "", 404),
        (turn, "x", "", 404),
        (turn, str(seq), "rob_bank", 400),
    ):
        fields = {"csrf": csrf, "seq": number, "meant": meant}
        assert (await owner.post(f"/admin/turns/{place}/mark", fields)).status == status, fields
    await site.db.pool.execute("UPDATE message SET sealed = NULL, deleted_at = now() WHERE direction = 'in'")
    assert (await owner.post(f"/admin/turns/{turn}/mark", {"csrf": csrf, "seq": str(seq)})).status == 400
    assert await site.db.pool.fetchval("SELECT count(*) FROM correction") == 0


async def test_what_was_made_of_a_message_goes_with_it(site: Site, owner: Browser) -> None:
    _, turn, seq = await asked(site, AMINA, WORDS, action="none")
    _, second, number = await asked(site, Caller("Baraka"), "buy me a goat", action="none")
    csrf = await owner.csrf()
    for place, which in ((turn, seq), (second, number)):
        await owner.post(f"/admin/turns/{place}/mark", {"csrf": csrf, "seq": str(which), "meant": "none"})
    person = await site.db.pool.fetchval("SELECT person_id FROM correction WHERE turn_id = $1", second)
    erasure = await begin(site.db, person, asked_by="staff:owner", last_word_to=None)
    await remove(site.db, erasure)
    assert await site.db.pool.fetch("SELECT turn_id FROM correction") == [(turn,)]
    assert (await owner.get(f"/admin/turns/{second}")).status == 404
    await site.db.pool.execute(
        "UPDATE message SET sealed = NULL, deleted_at = now() WHERE direction = 'in' AND turn_id = $1", turn
    )
    assert "Nothing is marked" in (await owner.get("/admin/corrections")).text
    assert await site.db.pool.fetchval("SELECT count(*) FROM correction") == 0
    assert "This message was deleted." in (await owner.get(f"/admin/turns/{turn}?words=1")).text
