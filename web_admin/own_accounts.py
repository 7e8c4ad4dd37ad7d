"""A person's own account with the payment provider: its keys are typed here, never in a chat, and never shown again."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

from core import audit
from core.db import Database, driver
from core.errors import Conflict, UserError
from core.models import Person
from core.settings import Settings
from ledger import own_accounts
from ledger.own_accounts import OwnKeys
from web_admin import auth

KEY_CHARS_MAX = 120

Check = Callable[[OwnKeys], Awaitable[None]]
"""Asks the provider whether it knows these keys; raises UserError where it does not, or cannot be asked."""


class OwnAccounts:
    """Keeps and forgets keys."""

    def __init__(self, db: Database, settings: Settings, check: Check | None) -> None:
        self._db, self._settings, self._check = db, settings, check

    @property
    def can_be_given(self) -> bool:
        """Whether this deployment moves money at all."""
        return self._settings.moves_money and self._check is not None

    async def shown(self, connection: Any, person_id: UUID) -> str | None:
        """The publishable key of the account that their payments go through; None for ours."""
        account = await own_accounts.account_of(connection, person_id)
        keys = await own_accounts.keys_of(connection, person_id, account) if account else None
        return keys.publishable if keys else None

    async def give(self, staff: auth.Staff, person_id: UUID, fields: Mapping[str, str]) -> None:
        """Have their payments go through their own account from now on. Raises UserError and LookupError."""
        if self._check is None or not self._settings.moves_money:
            raise UserError("This deployment moves no money: it has no keys of its own.")
        publishable, secret = fields.get("publishable", ""), fields.get("secret", "")
        if max(len(publishable), len(secret)) > KEY_CHARS_MAX:
            raise UserError(f"A key has at most {KEY_CHARS_MAX} characters.")
        keys = own_accounts.read(publishable, secret, is_live=self._settings.is_live)
        if keys.publishable == self._settings.intasend_publishable_key:
            raise UserError("That is this deployment's own account.")
        await self._check(keys)
        async with self._db.transaction() as session:
            person = await session.get(Person, person_id)
            if person is None or person.merged_into is not None or person.erasure_id is not None:
                raise LookupError
            await own_accounts.give(await driver(session), person_id, keys)
            await audit.record(
                session, staff.actor, "person.own_account_given", f"person:{person_id}", {"account": keys.account}
            )

    async def forget(self, staff: auth.Staff, person_id: UUID) -> None:
        """Have their payments go through ours again. Raises UserError while one needs the keys."""
        async with self._db.transaction() as session:
            try:
                if not await own_accounts.forget(await driver(session), person_id):
                    raise LookupError
            except Conflict as error:
                raise UserError(str(error)) from error
            await audit.record(session, staff.actor, "person.own_account_forgotten", f"person:{person_id}")
