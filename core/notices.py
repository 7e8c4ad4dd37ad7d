"""Notices: what a person is told without having asked just now, in their language, where they write to us."""

from typing import Any
from uuid import UUID

from core.language import Saying
from core.messages import Text
from core.outbox import NewMessage, post


async def tell(connection: Any, conversation_id: UUID, language: str, says: Saying, kind: str, key: str) -> None:
    """Have a notice sent once the caller's transaction is committed; with the same `key` again it is the same one."""
    message = NewMessage(conversation_id, (Text(text=says.to(language)),), kind, key)
    await post(connection, [message])
    await connection.execute("SELECT pg_notify('mathia', 'outbox')")
