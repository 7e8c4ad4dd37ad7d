"""The account page, where a PIN is set, and lets large payments and higher limits through: /account."""

from bot.account.page import routes

__all__ = ["routes"]
