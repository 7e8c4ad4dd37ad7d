"""The page on which somebody who was sent an invoice sees it, takes its PDF, and pays it: /pay/{token}."""

from bot.pay.page import routes

__all__ = ["routes"]
