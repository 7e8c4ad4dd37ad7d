"""Which account with IntaSend a payment goes through: this deployment's, or one that is a person's own."""

from typing import Any
from uuid import UUID

from connectors.intasend.client import IntaSend
from core.errors import ProviderError, UserError
from core.providers import Providers, Refused
from core.settings import Settings
from ledger import own_accounts
from ledger.own_accounts import OwnKeys


class Accounts:
    """Clients of the accounts there are, all at the same address."""

    def __init__(self, providers: Providers, settings: Settings) -> None:
        self._providers, self._settings = providers, settings

    async def of(self, connection: Any, person_id: UUID, account: str) -> IntaSend | None:
        """A person's own account; None where its keys are not known any more, or do not go with this deployment."""
        keys = await own_accounts.keys_of(connection, person_id, account)
        if keys is None or keys.is_live != self._settings.is_live:
            return None
        return IntaSend(self._providers, self._settings, keys)

    async def check(self, keys: OwnKeys) -> None:
        """Ask IntaSend whether it knows these keys. Raises UserError where it does not, or cannot be asked."""
        try:
            await IntaSend(self._providers, self._settings, keys).wallets()
        except Refused as refused:
            raise UserError("IntaSend does not take these keys. Nothing was kept.") from refused
        except ProviderError as error:
            raise UserError("IntaSend does not answer just now. Nothing was kept; try again later.") from error
