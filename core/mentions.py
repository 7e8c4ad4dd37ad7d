"""Who a message in a shared room of the web speaks to: the bot, when it is called by its name. Pure."""

import re

from core.messages import Media, Part, Text, text_of

SHARED = "room:"
"""How the names of rooms with several members begin; a private room is named after its visitor."""

BOT = re.compile(r"(?<![\w@.+/-])@mathia(?![\w@-]|\.\w)", re.IGNORECASE)
"""The bot's name as a word of its own: not in a longer one, in a mail address, or in a path."""
SPACES = re.compile(r"[ \t]{2,}")
AROUND = " \t\n,:;"
"""What a name called at either end leaves behind."""
CALLED_ALONE = "help"
"""What whoever says the name and nothing else is taken to say."""


def is_shared(room: str) -> bool:
    """Whether a room of the web has, or may have, several members."""
    return room.startswith(SHARED)


def calls_bot(parts: tuple[Part, ...]) -> bool:
    """Whether a message names the bot, anywhere in its words."""
    return BOT.search(text_of(parts)) is not None


def without_name(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """What is said to the bot, without its name; parts that do not name it stay as they are."""
    return tuple(_without(part) for part in parts)


def _without(part: Part) -> Part:
    match part:
        case Text() if BOT.search(part.text):
            return Text(text=_rest(part.text) or CALLED_ALONE)
        case Media() if part.caption and BOT.search(part.caption):
            return part.model_copy(update={"caption": _rest(part.caption)})
        case _:
            return part


def _rest(words: str) -> str:
    return SPACES.sub(" ", BOT.sub(" ", words)).strip(AROUND)
