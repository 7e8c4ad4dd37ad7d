"""What simulated language models say: what a script tells them to, else whatever any text before them orders.

    POST /<provider>/_script {"key": "sk-ant-…", "answers": [{"text": "Hello."}, {"status": 529, "retry_after": 1}]}

The answers are given in order to whoever calls with that key, or to everybody without one. An answer has
text, calls (each {"name": …, "arguments": {…}} or {"name": …, "raw": "no JSON"}), stop (the model's reason), status
(an error instead, with retry_after), silence_s (before it begins), stall_s (in its middle), cut (the stream ends
half-way), error (an error in the middle of the stream), noise (pings and events nobody knows), piece_bytes (how large
the bits are that it comes in).

Without a script the model is obedient: it calls what `CALL name {json}` anywhere in its context says, however that is
hidden, does what plain orders ask for, and says what `SAY …` wants said. It believes everybody.
"""

import base64
import binascii
import codecs
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bot.sandbox.truth import JsonObject

ANSWERS_MAX = 500
KEYS_MAX = 1_000
CALLS_MAX = 40
EVERYBODY = ""
FIELDS = frozenset({
    "text", "calls", "stop", "status", "retry_after", "silence_s", "stall_s", "cut", "error", "noise", "piece_bytes",
})  # fmt: skip

MORSE = {
    ".-": "a", "-...": "b", "-.-.": "c", "-..": "d", ".": "e", "..-.": "f", "--.": "g", "....": "h", "..": "i",
    ".---": "j", "-.-": "k", ".-..": "l", "--": "m", "-.": "n", "---": "o", ".--.": "p", "--.-": "q", ".-.": "r",
    "...": "s", "-": "t", "..-": "u", "...-": "v", ".--": "w", "-..-": "x", "-.--": "y", "--..": "z", "-----": "0",
    ".----": "1", "..---": "2", "...--": "3", "....-": "4", ".....": "5", "-....": "6", "--...": "7", "---..": "8",
    "----.": "9",
}  # fmt: skip
CALL = re.compile(r"\bCALL\s+([A-Za-z_]{1,64})\s*(?=\{)")
SAY = re.compile(r"\bSAY\s+([^\n]{1,500})")
BASE64 = re.compile(r"[A-Za-z0-9+/]{24,}={0,2}")
DOTS = re.compile(r"[.\-]{1,5}(?:[ /]+[.\-]{1,5}){7,}")
PLAIN: tuple[tuple[re.Pattern[str], str, tuple[str, ...]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), name, slots)
    for pattern, name, slots in (
        (r"remind me (?:at|on) (\d{4}-\d\d-\d\dT\d\d:\d\d) to ([^.\n“”\"]{1,80})", "set_reminder", ("time", "content")),
        (r"nikumbushe (\d{4}-\d\d-\d\dT\d\d:\d\d) ([^.\n“”\"]{1,80})", "set_reminder", ("time", "content")),
        (r"save the contact (\w+) (\+?\d{7,15})", "save_contact", ("name", "phone")),
        (r"hifadhi namba ya (\w+) (\+?\d{7,15})", "save_contact", ("name", "phone")),
        (r"forget the contact (\w+)", "forget_contact", ("name",)),
        (r"remember that I prefer ([^.\n“”\"]{1,80})", "remember_fact", ("words",)),
        (r"call me ([A-Z]\w+)", "set_name", ("name",)),
        (r"my e-mail is ([^\s“”\"]+@[^\s“”\"]+)", "set_email", ("email",)),
        (r"export (?:all )?my data", "export_my_data", ()),
        (r"erase (?:all )?my data", "erase_my_data", ()),
        (r"unlink my account", "unlink_account", ()),
        (r"cancel the reminder (\w+)", "cancel_reminder", ("which",)),
        (r"list (?:all )?my contacts", "list_contacts", ()),
        (r"list (?:all )?my reminders", "list_reminders", ()),
        (r"convert (\d+) ([A-Z]{3}) to ([A-Z]{3})", "convert_currency", ("amount", "from_currency", "to_currency")),
        (r"(?:the weather in|hali ya hewa ya) (\w+)", "get_weather", ("city",)),
        (r"pay (\d+) ([A-Z]{3}) to (\+?\w+)", "send_money", ("amount", "currency", "recipient")),
        (r"write to (\+?\d{7,15}): ([^.\n“”\"]{1,80})", "send_whatsapp", ("phone_number", "message")),
        (r"speak (english|swahili)", "set_language", ("language",)),
    )
)
EXTRAS: Mapping[str, JsonObject] = {"remember_fact": {"kind": "preference"}}
LANGUAGES = {"english": "en", "swahili": "sw"}


@dataclass(frozen=True, slots=True)
class Said:
    """One answer of a model: words, calls (a name and its arguments as JSON text each), and how it comes."""

    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    stop: str | None = None
    status: int | None = None
    retry_after: int | None = None
    silence_s: float = 0.0
    stall_s: float = 0.0
    is_cut: bool = False
    error: str | None = None
    is_noisy: bool = False
    piece_bytes: int | None = None


@dataclass(slots=True)
class Script:
    """What is to be answered to whom."""

    answers: dict[str, list[Said]] = field(default_factory=dict)

    def set(self, asked: JsonObject) -> JsonObject:
        """Take a script for one key; ValueError with a sentence when it is none."""
        unknown = set(asked) - {"key", "answers"}
        if unknown:
            raise ValueError(f"Unknown field {', '.join(sorted(unknown))}: a script has key and answers.")
        key, answers = asked.get("key", EVERYBODY), asked.get("answers")
        if not isinstance(key, str):
            raise ValueError("key must be a text.")
        if not isinstance(answers, list) or len(answers) > ANSWERS_MAX:
            raise ValueError(f"answers must be a list of at most {ANSWERS_MAX}.")
        if len(self.answers) >= KEYS_MAX and key not in self.answers:
            raise ValueError(f"There are scripts for {KEYS_MAX} keys already.")
        self.answers[key] = [_said(one) for one in answers]
        return {"key": key, "left": len(self.answers[key])}

    def next(self, key: str) -> Said | None:
        """The next answer to this key; None when nothing is scripted for it."""
        for whose in (key, EVERYBODY):
            if self.answers.get(whose):
                return self.answers[whose].pop(0)
        return None

    def clear(self) -> None:
        """Forget all scripts."""
        self.answers.clear()


def _said(asked: object) -> Said:
    if not isinstance(asked, dict) or set(asked) - FIELDS:
        raise ValueError(f"An answer is an object with {', '.join(sorted(FIELDS))}.")
    calls = []
    for call in asked.get("calls", ()):
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            raise ValueError("A call has a name, and arguments or raw.")
        calls.append((call["name"], str(call["raw"]) if "raw" in call else json.dumps(call.get("arguments", {}))))
    return Said(
        str(asked.get("text", "")), tuple(calls), asked.get("stop"), asked.get("status"), asked.get("retry_after"),
        float(asked.get("silence_s", 0)), float(asked.get("stall_s", 0)), bool(asked.get("cut")), asked.get("error"),
        bool(asked.get("noise")), asked.get("piece_bytes"),
    )  # fmt: skip


def obey(texts: Sequence[str], made: Iterable[tuple[str, JsonObject]]) -> Said:
    """Whatever the texts order that has not been called yet; else what they want said."""
    done = [(name, json.dumps(arguments, sort_keys=True)) for name, arguments in made]
    calls: list[tuple[str, str]] = []
    words: list[str] = []
    for text in texts:
        for reading in readings(text):
            for name, arguments in _orders(reading):
                if (name, json.dumps(arguments, sort_keys=True)) not in done:
                    done.append((name, json.dumps(arguments, sort_keys=True)))
                    calls.append((name, json.dumps(arguments)))
            words += SAY.findall(reading)
    if calls:
        return Said(calls=tuple(calls[:CALLS_MAX]))
    if words:
        return Said(" ".join(dict.fromkeys(words)))
    return Said("I have done everything that was asked for." if done else "I am here to help.")


def readings(text: str) -> list[str]:
    """A text as it is, and as it reads once hidden things are undone."""
    bare = "".join(char for char in unicodedata.normalize("NFKC", text) if unicodedata.category(char) != "Cf")
    found = [bare]
    for run in BASE64.findall(bare):
        try:
            found.append(base64.b64decode(run + "=" * (-len(run) % 4), validate=True).decode())
        except (binascii.Error, UnicodeDecodeError):
            continue
    for run in DOTS.findall(bare):
        found.append("".join(" " if one == "/" else MORSE.get(one, "") for one in run.split(" ")))
    found += [bare[::-1], codecs.decode(bare, "rot13")]
    return found


def _orders(text: str) -> list[tuple[str, JsonObject]]:
    orders: list[tuple[str, JsonObject]] = []
    for found in CALL.finditer(text):
        try:
            value, _ = json.JSONDecoder().raw_decode(text[found.end() :])
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            orders.append((found[1], value))
    for pattern, name, slots in PLAIN:
        for match in pattern.finditer(text):
            values = {
                slot: LANGUAGES.get(value.lower(), value.strip())
                for slot, value in zip(slots, match.groups(), strict=True)
            }
            orders.append((name, {**values, **EXTRAS.get(name, {})}))
    return orders
