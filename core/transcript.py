"""What was said, as text to keep: the lines of a message's parts, and words that no reader takes for formatting."""

from collections.abc import Sequence

from core.messages import Choices, Contact, Forwarded, Location, Media, Part, Voice, text_of

MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_{}[]<>()#+-.!|~&:"})


def escaped(words: str) -> str:
    """These words in Markdown, as they stand."""
    return words.translate(MARKDOWN)


def quoted(parts: Sequence[Part]) -> str:
    """What a message says, as a quotation in Markdown; nothing that was written in it can be taken for formatting."""
    return "".join(f"> {escaped(line)}  \n" for part in parts for line in lines(part))


def lines(part: Part) -> list[str]:
    """What a part says or is, line by line."""
    said: tuple[str | None, ...]
    match part:
        case Media():
            said = (part.filename or part.media_type, part.caption)
        case Voice():
            said = (part.media_type, part.transcript)
        case Location():
            said = (part.label, f"{part.latitude}, {part.longitude}")
        case Contact():
            said = (part.name, ", ".join((*part.phones, *part.emails)))
        case Forwarded():
            said = ("(forwarded)",)
        case Choices():
            said = (" / ".join(part.options),)
        case _:
            said = (text_of((part,)),)
    return [line for words in said if words for line in words.splitlines()]
