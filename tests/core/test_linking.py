"""Linking against a model: any order of codes shown, typed, mistyped, too late and unlinked, on a real PostgreSQL."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from core import linking, people
from core.db import Database
from core.linking import CODE_LIFE, CODES_MAX, TRIES_MAX, TRIES_WITHIN, Outcome
from core.messages import Address, ChannelName
from core.settings import Settings

IDENTITIES = 5
WRONG = "ZZZZZZZZ22"
EXAMPLES, STEPS = 25, 30

who = st.integers(0, IDENTITIES - 1)


@dataclass
class Shown:
    """A code of the model, and whether it is still open."""

    by: int
    until: datetime
    open: bool = True


class Linking(RuleBasedStateMachine):
    """Five identities of strangers, on the web so that each has a conversation; the clock only moves forward."""

    db: Database
    loop: asyncio.Runner

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2026, 11, 24, 9, tzinfo=UTC)
        self.rooms = [f"v-{uuid4()}" for _ in range(IDENTITIES)]
        self.group = list(range(IDENTITIES))
        """The model: which person each identity is."""
        self.next_group = IDENTITIES
        self.codes: dict[str, Shown] = {}
        self.shown_at: list[tuple[int, datetime]] = []
        self.tries: list[tuple[int, datetime]] = []
        self.conversations = [self.run(self._meet(room)) for room in self.rooms]
        self.calls = 0

    def run(self, work: Any) -> Any:
        return self.loop.run(work)

    def key(self) -> str:
        self.calls += 1
        return f"{self.rooms[0]}:{self.calls}"

    async def _meet(self, room: str) -> UUID:
        person, conversation = uuid4(), uuid4()
        async with self.db.hot() as connection:
            await connection.execute("INSERT INTO person (id) VALUES ($1)", person)
            await connection.execute(
                "INSERT INTO conversation (id, channel, account, room) VALUES ($1, 'web', 'site', $2)",
                conversation,
                room,
            )
            await connection.execute(
                "INSERT INTO identity (id, person_id, channel, account, provider_id)"
                " VALUES (gen_random_uuid(), $1, 'web', 'site', $2)",
                person,
                room,
            )
        async with self.db.transaction() as session:
            await people.save_contact(session, person, conversation, room, phone=None, email=None, note=None)
        return conversation

    async def _known(self, person: UUID) -> list[str]:
        async with self.db.transaction() as session:
            return [contact.name for contact in await people.contacts(session, person)]

    def address(self, number: int) -> Address:
        return Address(ChannelName.WEB, "site", self.rooms[number], self.rooms[number])

    async def _show(self, number: int) -> str:
        async with self.db.transaction() as session:
            return await linking.show_code(session, self.address(number), self.conversations[number], self.now)

    async def _use(self, number: int, code: str, key: str) -> linking.Used:
        async with self.db.transaction() as session:
            return await linking.use_code(session, self.address(number), code, self.now, key)

    async def _unlink(self, number: int) -> bool:
        async with self.db.transaction() as session:
            return await linking.unlink(session, self.address(number), self.conversations[number], self.now)

    def end(self, *groups: int) -> None:
        for code in self.codes.values():
            if self.group[code.by] in groups:
                code.open = False

    @rule(number=who)
    def show(self, number: int) -> None:
        mine = [at for by, at in self.shown_at if self.group[by] == self.group[number] and at > self.now - TRIES_WITHIN]
        if len(mine) >= CODES_MAX:
            return
        self.end(self.group[number])
        self.codes[self.run(self._show(number))] = Shown(number, self.now + CODE_LIFE)
        self.shown_at.append((number, self.now))

    @precondition(lambda self: self.codes)
    @rule(number=who, data=st.data(), again=st.booleans(), wrong=st.booleans())
    def type(self, number: int, data: st.DataObject, again: bool, wrong: bool) -> None:
        code = WRONG if wrong else data.draw(st.sampled_from(sorted(self.codes)))
        key = self.key()
        used = self.run(self._use(number, code, key))
        assert used.outcome is self.expected(number, code)
        if again and used.outcome is not Outcome.ALREADY:
            assert self.run(self._use(number, code, key)).outcome is used.outcome

    def expected(self, number: int, code: str) -> Outcome:
        """What the model makes of it; it follows."""
        recent = [at for by, at in self.tries if by == number and at > self.now - TRIES_WITHIN]
        if len(recent) >= TRIES_MAX:
            return Outcome.LOCKED
        shown = self.codes.get(code)
        if shown is None or not shown.open or shown.until <= self.now:
            self.tries.append((number, self.now))
            return Outcome.WRONG
        if shown.by == number:
            return Outcome.OWN
        kept, gone = self.group[shown.by], self.group[number]
        self.end(kept, gone)
        if kept == gone:
            return Outcome.ALREADY
        self.group = [kept if group == gone else group for group in self.group]
        return Outcome.LINKED

    @rule(number=who)
    def part(self, number: int) -> None:
        linked = self.group.count(self.group[number]) > 1
        assert self.run(self._unlink(number)) is linked
        if linked:
            self.end(self.group[number])
            self.group[number], self.next_group = self.next_group, self.next_group + 1

    @rule(minutes=st.sampled_from((1, 9, 10, 11, 59, 61)))
    def wait(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @invariant()
    def persons_are_those_of_the_model_and_each_has_its_own_things(self) -> None:
        rows = self.run(
            self.db.pool.fetch(
                "SELECT i.person_id, p.merged_into FROM unnest($1::text[]) WITH ORDINALITY AS g(room, n)"
                " JOIN identity i ON i.provider_id = g.room JOIN person p ON p.id = i.person_id ORDER BY n",
                self.rooms,
            )
        )
        assert [row["merged_into"] for row in rows] == [None] * IDENTITIES
        for number, row in enumerate(rows):
            same = [other for other in range(IDENTITIES) if rows[other]["person_id"] == row["person_id"]]
            assert same == [other for other in range(IDENTITIES) if self.group[other] == self.group[number]]
            assert self.run(self._known(row["person_id"])) == sorted(self.rooms[other] for other in same)


def test_any_order_of_linking_ends_as_the_model_says(database_url: str) -> None:
    with asyncio.Runner() as runner:
        db = runner.run(Database.connect(database_url, Settings(_env_file=None).key_list))
        Linking.db, Linking.loop = db, runner
        try:
            run_state_machine_as_test(
                Linking,
                settings=settings(
                    max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None,
                    suppress_health_check=[HealthCheck.too_slow],
                ),
            )  # fmt: skip
        finally:
            runner.run(db.close())
