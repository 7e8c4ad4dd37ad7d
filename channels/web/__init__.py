"""The web: a socket for the widget and the chat page, and the pages themselves."""

from channels.web.socket import WebChannel

__all__ = ["WebChannel"]
