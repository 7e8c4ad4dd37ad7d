"""Telegram's text formatting: HTML and MarkdownV2 to plain text and entities, refused with the server's own words."""

import html
import re
from typing import TypeAlias

from bot.sandbox.truth import JsonObject

Parsed: TypeAlias = tuple[str, list[JsonObject]]
"""The text that is shown, and its entities; offsets and lengths count UTF-16 units."""

TAGS = {
    "b": "bold", "strong": "bold", "i": "italic", "em": "italic", "u": "underline", "ins": "underline",
    "s": "strikethrough", "strike": "strikethrough", "del": "strikethrough", "tg-spoiler": "spoiler", "span": "spoiler",
    "a": "text_link", "code": "code", "pre": "pre", "blockquote": "blockquote", "tg-emoji": "custom_emoji",
}  # fmt: skip
TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9-]*)((?:\s+[a-zA-Z-]+(?:\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s>]+))?)*)\s*>")
HREF = re.compile(r"href\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s>]+))")
COMMAND = re.compile(r"(?:^|(?<=\s))/[A-Za-z0-9_]{1,32}(?:@\w+)?")
RESERVED = "_*[]()~`>#+-=|{}.!"
MARKS = {
    "*": "bold",
    "_": "italic",
    "__": "underline",
    "~": "strikethrough",
    "||": "spoiler",
    "`": "code",
    "```": "pre",
}
MARKS_BY_LENGTH = sorted(MARKS, key=len, reverse=True)
ENTITIES_MAX = 100


class CannotParse(Exception):
    """The text is not what its parse mode asks for; the message is the server's."""


def units(text: str) -> int:
    """Length in UTF-16 units, which is how Telegram counts."""
    return len(text) + sum(1 for char in text if ord(char) > 0xFFFF)


def parse(text: str, mode: str) -> Parsed:
    """Plain text and entities; raises CannotParse."""
    match mode.lower():
        case "":
            return text, commands(text)
        case "html":
            return _html(text)
        case "markdownv2":
            return _markdown(text)
        case "markdown":
            return _markdown(text, legacy=True)
        case _:
            raise CannotParse("unsupported parse_mode")


def commands(text: str) -> list[JsonObject]:
    """Bot commands in a text, as entities."""
    return [
        {"type": "bot_command", "offset": units(text[: found.start()]), "length": units(found[0])}
        for found in COMMAND.finditer(text)
    ]


def _byte(text: str, at: int) -> int:
    return len(text[:at].encode("utf-8", "surrogatepass"))


def _html(text: str) -> Parsed:
    shown: list[str] = []
    length = 0
    entities: list[JsonObject] = []
    open_tags: list[tuple[str, int, JsonObject]] = []
    at = 0
    while at < len(text):
        end = text.find("<", at)
        plain = html.unescape(text[at:] if end < 0 else text[at:end])
        shown.append(plain)
        length += units(plain)
        if end < 0:
            break
        tag = TAG.match(text, end)
        if tag is None:
            raise CannotParse(
                f'Unsupported start tag "{text[end + 1 : end + 12].split(" ")[0]}" at byte offset {_byte(text, end)}'
            )
        closing, name, attributes = tag[1], tag[2].lower(), tag[3]
        if name not in TAGS or (name == "span" and not closing and "tg-spoiler" not in attributes):
            raise CannotParse(f'Unsupported start tag "{name}" at byte offset {_byte(text, end)}')
        if not closing:
            more: JsonObject = {}
            if name == "a" and (href := HREF.search(attributes)):
                more["url"] = html.unescape(next(group for group in href.groups() if group is not None))
            open_tags.append((name, length, more))
        else:
            if not open_tags:
                raise CannotParse(f"Unexpected end tag at byte offset {_byte(text, end)}")
            opened, start, more = open_tags.pop()
            if opened != name:
                raise CannotParse(
                    f'Unmatched end tag at byte offset {_byte(text, end)}, expected "</{opened}>", found "</{name}>"'
                )
            if length > start and not (name == "a" and "url" not in more):
                entities.append({"type": TAGS[name], "offset": start, "length": length - start, **more})
        at = tag.end()
    if open_tags:
        raise CannotParse(f'Can\'t find end tag corresponding to start tag "{open_tags[-1][0]}"')
    return "".join(shown), sorted(entities, key=lambda entity: (entity["offset"], -entity["length"]))[:ENTITIES_MAX]


def _markdown(text: str, *, legacy: bool = False) -> Parsed:
    marks = {"*": "bold", "_": "italic", "`": "code", "```": "pre"} if legacy else MARKS
    shown: list[str] = []
    length = 0
    entities: list[JsonObject] = []
    open_marks: list[tuple[str, int, int]] = []
    at = 0
    while at < len(text):
        char = text[at]
        inside_code = bool(open_marks) and open_marks[-1][0] in ("`", "```")
        if char == "\\" and at + 1 < len(text) and ord(text[at + 1]) < 127:
            shown.append(text[at + 1])
            length += 1
            at += 2
            continue
        mark = next((m for m in MARKS_BY_LENGTH if m in marks and text.startswith(m, at)), None)
        if mark and not (inside_code and mark != open_marks[-1][0]):
            if open_marks and open_marks[-1][0] == mark:
                _, start, _ = open_marks.pop()
                if length > start:
                    entities.append({"type": marks[mark], "offset": start, "length": length - start})
            else:
                open_marks.append((mark, length, at))
            at += len(mark)
            continue
        link = None if inside_code else re.compile(r"\[((?:[^\]\\]|\\.)+)\]\(((?:[^)\\]|\\.)+)\)").match(text, at)
        if link:
            label = re.sub(r"\\(.)", r"\1", link[1])
            shown.append(label)
            entities.append({"type": "text_link", "offset": length, "length": units(label), "url": link[2]})
            length += units(label)
            at = link.end()
            continue
        if (
            not legacy
            and not inside_code
            and char in RESERVED
            and not (char == ">" and (at == 0 or text[at - 1] == "\n"))
        ):
            raise CannotParse(f"Character '{char}' is reserved and must be escaped with the preceding '\\'")
        shown.append(char)
        length += units(char)
        at += 1
    if open_marks:
        unclosed, _, start = open_marks[-1]
        raise CannotParse(
            f"Can't find end of {marks[unclosed].capitalize()} entity at byte offset {_byte(text, start)}"
        )
    return "".join(shown), sorted(entities, key=lambda entity: (entity["offset"], -entity["length"]))[:ENTITIES_MAX]
