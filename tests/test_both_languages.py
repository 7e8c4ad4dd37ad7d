"""Whatever a person reads is there in English and in Swahili: as texts that are both, nowhere as one in the code."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from core.language import Saying, heard

ROOT = Path(__file__).parent.parent
PACKAGES = ("core", "connectors", "channels", "jobs", "ledger")
STAFF = {
    "core/sites.py", "core/origins.py", "core/colours.py", "jobs/definitions.py", "jobs/temporal.py", "ledger/fees.py",
    "ledger/adjustments.py", "ledger/own_accounts.py", "connectors/intasend/accounts.py",
}  # fmt: skip
"""What these say is said to staff on an admin page, or to operators at a terminal."""
PROGRAMS = {"bad_frame", "unknown_type", "hello", "site", "origin", "identity"}
"""Codes of what is refused because a page is built wrongly: it is told to whoever builds it."""
SAYS = {"ActionResult": 0, "UserError": 0, "LimitReached": 0, "Unusable": 0, "InvalidSlot": 1, "FileRefused": 1}
"""What is called with something to say, and as which argument."""
WORD = re.compile(r"[^\W\d_]{2,}")
SLOT = re.compile(r"\{(\w*)[^}]*\}")
SAME = {"WhatsApp", "Telegram", "°C", " · sandbox"}


def modules() -> list[str]:
    """Every module of ours by name, but for those that are programs."""
    found: list[str] = ["bot.account.words", "bot.pay.words"]
    for package in PACKAGES:
        path = ROOT / package
        if path.is_dir():
            found += [package, *(one.name for one in pkgutil.walk_packages([str(path)], f"{package}."))]
    return [name for name in found if not name.endswith("__main__")]


def texts(value: Any, path: str, depth: int = 0) -> Iterator[tuple[str, Any, Any]]:
    """Where a value holds something in both languages: its path, the English, the Swahili (None where it is not)."""
    if isinstance(value, Saying):
        yield path, value.en, value.sw
    elif isinstance(value, dict) and "en" in value:
        yield path, value["en"], value.get("sw")
    elif depth < 4 and isinstance(value, dict):
        for key, item in value.items():
            yield from texts(item, f"{path}[{key!r}]", depth + 1)
    elif depth < 4 and isinstance(value, tuple | list):
        for number, item in enumerate(value):
            yield from texts(item, f"{path}[{number}]", depth + 1)
    elif depth < 4 and is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from texts(getattr(value, field.name), f"{path}.{field.name}", depth + 1)


def pairs(path: str, en: Any, sw: Any) -> Iterator[tuple[str, str, str]]:
    """The texts of one place, one by one; a shape that differs fails."""
    if isinstance(en, dict):
        assert isinstance(sw, dict), path
        assert set(en) == set(sw), path
        for key in en:
            yield from pairs(f"{path}[{key!r}]", en[key], sw[key])
    elif isinstance(en, tuple):
        assert isinstance(sw, tuple), path
        assert len(en) == len(sw), path
        for number, (one, two) in enumerate(zip(en, sw, strict=True)):
            yield from pairs(f"{path}[{number}]", one, two)
    else:
        assert isinstance(en, str), path
        assert isinstance(sw, str), path
        yield path, en, sw


@pytest.mark.parametrize("name", modules())
def test_what_is_there_in_one_language_is_there_in_the_other_and_says_the_same(name: str) -> None:
    for attribute, value in vars(importlib.import_module(name)).items():
        for path, en, sw in texts(value, f"{name}.{attribute}"):
            for where, one, two in pairs(path, en, sw):
                assert one.strip(), where
                assert two.strip(), where
                assert set(SLOT.findall(one)) == set(SLOT.findall(two)), where
                assert heard(SLOT.sub("", one)) != "sw", where
                assert heard(SLOT.sub("", two)) != "en", where
                assert one != two or one in SAME or len(one.split()) == 1, where


def spelled(node: ast.AST) -> Iterator[str]:
    """Words that are written out in an expression, and not in a call or a look-up inside it."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=values):
            for value in values:
                yield from spelled(value)
        case ast.BinOp(left=left, right=right):
            yield from spelled(left)
            yield from spelled(right)
        case ast.IfExp(body=body, orelse=orelse):
            yield from spelled(body)
            yield from spelled(orelse)
        case ast.Call(func=ast.Attribute(value=ast.Constant() as text)):
            yield from spelled(text)


def said_in(node: ast.Call) -> ast.AST | None:
    """The argument of a call that a person reads."""
    match node.func:
        case ast.Name(id="BadFrame"):
            code = node.args[0] if node.args else None
            return None if isinstance(code, ast.Constant) and code.value in PROGRAMS else node.args[1]
        case ast.Name(id=name) if name in SAYS and len(node.args) > SAYS[name]:
            return node.args[SAYS[name]]
        case ast.Name(id="Text"):
            return next((keyword.value for keyword in node.keywords if keyword.arg == "text"), None)
        case ast.Attribute(attr="of", value=ast.Name(id="Reply")) if node.args:
            return node.args[0]
    return None


@pytest.mark.parametrize(
    "path",
    [
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if path.relative_to(ROOT).as_posix() not in STAFF
    ],
)
def test_no_text_for_people_is_written_out_in_one_language(path: str) -> None:
    for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))):
        if isinstance(node, ast.Call) and (said := said_in(node)) is not None:
            for text in spelled(said):
                assert text in SAME or not WORD.search(text), f"{path}:{node.lineno}: {text!r}"


def test_the_widget_and_the_rooms_page_have_all_their_words_in_both() -> None:
    block = (ROOT / "channels/web/widget/widget.js").read_text("utf-8").partition("const WORDS = {\n")[2]
    # What is only there in Swahili is said by the server in English.
    block = re.sub(r"codes: \{[^}]*\},?", "", block.partition("\n  }\n")[0])
    english, _, swahili = block.partition("\n    sw: {")
    keys = [re.findall(r"(?:, |\n {6})(\w+): (?=['(])", half) for half in (english, swahili)]
    assert len(keys[0]) > 40
    assert keys[0] == keys[1]
    block = (
        (ROOT / "channels/web/widget/rooms.js").read_text("utf-8").partition("const WORDS = {\n")[2].partition("\n}")[0]
    )
    text = r"'((?:[^'\\]|\\.)+)'"
    both = re.findall(rf"\w+: \[{text}, {text}\]", block)
    assert len(both) == len(re.findall(r"\w+: \[", block)) > 25
    for en, sw in both:
        assert heard(en) != "sw", en
        assert heard(sw) != "en", sw
        assert en != sw or en == "Mathia", en
