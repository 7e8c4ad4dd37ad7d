"""What the pages share that a link in a chat opens: the pay page and the account page."""

from bot.pages.frame import HEADERS, Frame, Refused, Says, Served, language_of, saying_of

__all__ = ["HEADERS", "Frame", "Refused", "Says", "Served", "language_of", "saying_of"]
