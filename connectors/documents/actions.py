"""Summing up a document that was sent in this conversation, and answering a question out of it, in its own words.

A document is a stranger's: what it says is quoted, between marks it cannot close, and goes nowhere but into the reply.
It is found by what the person wrote, never by what a document says.
"""

from dataclasses import dataclass

from pydantic import Field

from connectors.documents import passages, reading
from connectors.documents.passages import Quote
from connectors.documents.reading import NAME_CHARS_MAX, Document
from core import conversations
from core.actions import ActionContext, ActionResult, Effect, Params, action, ask
from core.errors import InvalidSlot, UserError
from core.files import FileGone
from core.media import NotFetched
from core.messages import Media

LOOK_BACK_MAX = 500
"""How many of the conversation's newest messages are searched for files."""
LISTED_MAX = 5
"""How many files are named when none fits."""
SEQ_MAX = 2**62

SAYINGS = {
    "en": {
        "none": "There is no document in this chat yet. Send me one, then ask again.",
        "which": "I do not find that file here. Which one: {files}?",
        "unnamed": "the newest file",
        "coming": "The file is still on its way to me. Please ask again in a moment.",
        "gone": "That file is no longer kept. Please send it again.",
        "summary": "An extract of {name}, the sentences that say most, as they stand:",
        "answer": "{name} says, word for word:",
        "unanswered": "I find nothing about that in {name}. I look for the words themselves; try other ones.",
        "cut": "The document is longer than I read: this is from its first part.",
    },
    "sw": {
        "none": "Bado hakuna hati kwenye gumzo hili. Nitumie, kisha uliza tena.",
        "which": "Sioni faili hiyo hapa. Ni ipi: {files}?",
        "unnamed": "faili ya mwisho",
        "coming": "Faili bado inakuja kwangu. Tafadhali uliza tena baada ya muda mfupi.",
        "gone": "Faili hiyo haipo tena. Tafadhali itume tena.",
        "summary": "Dondoo la {name}, sentensi zenye uzito zaidi, kama zilivyo:",
        "answer": "{name} inasema, neno kwa neno:",
        "unanswered": "Sioni lolote kuhusu hilo kwenye {name}. Natafuta maneno yenyewe; jaribu mengine.",
        "cut": "Hati ni ndefu kuliko ninavyosoma: hii ni sehemu yake ya kwanza.",
    },
}
PLACES = {
    "en": {"page": "page {}", "sheet": "sheet {}", "paragraph": "paragraph {}", "row": "row {}", "line": "line {}",
           "image": "picture"},
    "sw": {"page": "ukurasa {}", "sheet": "jedwali {}", "paragraph": "aya {}", "row": "safu {}", "line": "mstari {}",
           "image": "picha"},
}  # fmt: skip

FILE = Field(
    default=None, max_length=NAME_CHARS_MAX,
    description="The file's name or a part of it, as the person wrote it; the newest in this conversation if left out",
    json_schema_extra=ask("Which file?", "Faili gani?"),
)  # fmt: skip


class SummariseDocument(Params):
    """Which document."""

    file: str | None = FILE


class AskDocument(Params):
    """Which document, and what is asked."""

    question: str = Field(
        description="What the person wants to know from the document", min_length=1, max_length=300,
        json_schema_extra=ask("What would you like to know from it?", "Ungependa kujua nini kutoka kwayo?"),
    )  # fmt: skip
    file: str | None = FILE


@action(
    effect=Effect.READ, own=True,
    examples=("summarise this", "what is this document about?", "fupisha hati hii"),
)  # fmt: skip
async def summarise_document(ctx: ActionContext, params: SummariseDocument) -> ActionResult:
    """Sum up a document of this conversation in its own sentences, each with its page."""
    opened = await _open(ctx, params.file)
    return opened.told("summary", passages.summarise(opened.document))


@action(
    effect=Effect.READ, own=True,
    examples=("what does the contract say about rent?", "according to the lease, when is rent due?",
              "mkataba unasema nini kuhusu kodi"),
)  # fmt: skip
async def ask_document(ctx: ActionContext, params: AskDocument) -> ActionResult:
    """Answer a question out of a document of this conversation with the passages that fit best, each with its page."""
    opened = await _open(ctx, params.file)
    quotes = passages.ask(opened.document, params.question)
    return opened.told("answer" if quotes else "unanswered", quotes)


@dataclass(frozen=True, slots=True)
class _Opened:
    document: Document
    name: str
    language: str

    def told(self, saying: str, quotes: tuple[Quote, ...]) -> ActionResult:
        """The quotations as a reply, with their places."""
        says = SAYINGS[self.language]
        lines = [says[saying].format(name=self.name)]
        lines += [f"“{quote.text}” ({_place(quote, self.language)})" for quote in quotes]
        if self.document.cut:
            lines.append(says["cut"])
        return ActionResult("\n\n".join(lines), {"quotes": len(quotes)})


def _place(quote: Quote, language: str) -> str:
    return PLACES[language][quote.kind].format(quote.name)


async def _open(ctx: ActionContext, wanted: str | None) -> _Opened:
    """The document that is meant, read; raises UserError or InvalidSlot with a sentence."""
    language = "sw" if ctx.person.language == "sw" else "en"
    says = SAYINGS[language]
    files = await _files(ctx)
    if not files:
        raise UserError(says["none"])
    media = choose(files, wanted)
    if media is None:
        names = list(dict.fromkeys(shown(one) for one in files if one.filename))[:LISTED_MAX]
        raise InvalidSlot("file", says["which"].format(files=", ".join(names) or says["unnamed"]))
    try:
        data = await ctx.fetch(ctx.conversation_id, media.ref)
    except NotFetched:
        raise UserError(says["coming"]) from None
    except FileGone:
        raise UserError(says["gone"]) from None
    document = await reading.read(data, media.filename or "", language)
    return _Opened(document, shown(media) if media.filename else says["unnamed"], language)


async def _files(ctx: ActionContext) -> list[Media]:
    """The documents people sent in this conversation, newest first."""
    found: list[Media] = []
    seq = SEQ_MAX
    for _ in range(LOOK_BACK_MAX // conversations.HISTORY_PAGE):
        page = await conversations.before(ctx.db, ctx.conversation_id, seq=seq)
        for message in page:
            found += [
                part
                for part in reversed(message.parts)
                if message.inbound and isinstance(part, Media) and part.may_have_text
            ]
        if len(page) < conversations.HISTORY_PAGE:
            break
        seq = page[-1].seq
    return found


def choose(files: list[Media], wanted: str | None) -> Media | None:
    """The file that is meant among these, newest first; None where none fits the name it is given.

    A word such as "lease" that no file is called by means the newest: people call files what they are.
    """
    if wanted is None:
        return files[0]
    low = wanted.casefold()
    names = [(one.filename or "").casefold() for one in files]
    fits = [n for n, name in enumerate(names) if name == low] or [n for n, name in enumerate(names) if low in name]
    if fits:
        return files[fits[0]]
    return None if "." in low or " " in low else files[0]


def shown(media: Media) -> str:
    """A file's name as it is said in a reply: on one line, unable to end a quotation, and short."""
    name = " ".join((media.filename or "").translate(passages.QUOTING).split())
    return name if len(name) <= NAME_CHARS_MAX else f"{name[: NAME_CHARS_MAX - 1]}…"
