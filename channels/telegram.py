"""Telegram: updates in by webhook or long polling, messages out by sendMessage, on python-telegram-bot's types."""

import asyncio
import random
import re
import ssl
import time
from collections.abc import Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TypeAlias

import httpx
import orjson
import structlog
from telegram import (
    Bot,
    BotCommand,
    CallbackQuery,
    Chat,
    ChatMemberUpdated,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputFile,
    Message,
    MessageEntity,
    MessageReactionUpdated,
    ReactionTypeEmoji,
    Update,
    User,
)
from telegram.constants import ChatAction, ParseMode
from telegram.error import BadRequest, ChatMigrated, Conflict, Forbidden, InvalidToken, NetworkError, TelegramError
from telegram.request import HTTPXRequest

from channels.base import NotSent, OutcomeUnknown, Undeliverable, Unknowable
from channels.degrade import (
    TELEGRAM,
    ContactPiece,
    FilePiece,
    Piece,
    PlacePiece,
    TextPiece,
    inbound_text,
    pieces,
    units,
)
from channels.outgoing import Outgoing
from core.changes import EMOJI_MAX, Change, Moved, Reach
from core.egress import Egress, Fetched
from core.errors import ProviderRefused, ProviderUnavailable, RateLimited, StoreUnavailable
from core.files import Files, file_id
from core.inbox import Inbox
from core.messages import (
    Address,
    ChannelName,
    Contact,
    InboundMessage,
    Location,
    Media,
    OutboundMessage,
    Part,
    Voice,
    forwarded,
)
from core.settings import Settings
from core.sniff import FILE_BYTES_MAX

log = structlog.get_logger()

CAPTION_CHARS_MAX = 4_096
"""Of what people send; Telegram gives those who pay for it a longer caption than the bot's own."""
CALLBACK_BYTES_MAX = 64
BUTTONS_ROW_UNITS = 24
"""Options that are together no longer than this share a row of the keyboard."""
NAME_CHARS_MAX = 128
ALLOWED_UPDATES = ("message", "edited_message", "callback_query", "message_reaction", "my_chat_member")
GROUPS = ("group", "supergroup")
PER_SECOND = 30.0
"""What Telegram takes a second from one bot, all chats together; beyond it answers 429."""
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 15.0
WRITE_TIMEOUT_S = 5.0
UPLOAD_TIMEOUT_S = 15.0
"""How long Telegram may take nothing of a file while it is given one."""
CONNECTIONS_MAX = 64
POLL_S = 25
"""How long Telegram holds a getUpdates request open when there is nothing."""
POLL_UPDATES_MAX = 100
RETRY_AFTER_S = 2.0
"""When Telegram asks us to slow down without saying for how long."""
RETRY_AFTER_S_MAX = 3_600.0
CREDENTIALS_RETRY_S = 60.0
BACKOFF_S = 0.25
BACKOFF_S_MAX = 30.0
CONFLICT_S = 10.0
WEBHOOK_CONNECTIONS = 40
LIMITED_CHATS_MAX = 1_000
ASIDE_MAX = 1_000
"""Calls on their way that nobody waits for; beyond it a button's spinner stops by itself, and nobody sees us type."""
COMMANDS_MAX = 100
DESCRIPTION_CHARS_MAX = 256
NO_COMMANDS: Mapping[str, Sequence[tuple[str, str]]] = MappingProxyType({})

NOT_SENT = (
    httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.WriteTimeout, httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)  # fmt: skip
"""What happens before a request has left us whole; any other trouble may come after it was executed."""

SHAPELESS = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, OSError, RecursionError)
"""What the library raises for JSON that is not an update; it does not check types itself."""

REASONS = {
    "bot was blocked": "The person has blocked the bot.",
    "user is deactivated": "The person's Telegram account is closed.",
    "can't initiate conversation": "The person has not written to the bot yet, and Telegram lets people begin.",
    "was kicked": "The bot was removed from the group.",
    "not a member": "The bot is not in the group.",
    "not enough rights": "The bot may not write in the group.",
    "chat not found": "Telegram does not know this chat.",
    "message is too long": "The message is longer than Telegram allows.",
}
"""What staff read for Telegram's descriptions, found by a piece of them."""


_CHAT = re.compile(r"-?[0-9]{1,19}")
_OPTION = re.compile(r"#(0|[1-9][0-9]{0,2})")
_KINDS: dict[str, type] = {
    "message": Message,
    "edited_message": Message,
    "callback_query": CallbackQuery,
    "message_reaction": MessageReactionUpdated,
    "my_chat_member": ChatMemberUpdated,
}


@dataclass(frozen=True, slots=True)
class Pressed:
    """A button that was pressed: what the person said by it, if anything, and the query that waits for an answer."""

    query_id: str
    message: InboundMessage | None


Event: TypeAlias = InboundMessage | Change | Moved | Reach | Pressed


def read_update(raw: object) -> Update:
    """Decoded JSON to an Update. Raises ValueError unless it has an id and the shape of one."""
    if not isinstance(raw, dict):
        raise ValueError("an update is a JSON object")
    _whole(raw.get("update_id"), "update_id")
    try:
        update = Update.de_json(raw, None)
    except SHAPELESS as error:
        raise ValueError("the update does not have the shape of one") from error
    for name, kind in _KINDS.items():
        content: Any = getattr(update, name)
        if content is None:
            continue
        chat = content.message and content.message.chat if isinstance(content, CallbackQuery) else content.chat
        if not isinstance(content, kind) or not isinstance(chat, Chat | None):
            raise ValueError(f"the update's {name} does not have the shape of one")
    return update


def parse(update: Update, account: str, username: str | None = None) -> Event | None:
    """What one update tells the bot `account`, called `username`; None when it does not concern it.

    In a group a message concerns it that answers the bot, names it, or is a command for it; a mention of the bot at
    either end is an address and not part of the text. Raises ValueError with a sentence for values that Telegram does
    not send.
    """
    try:
        if update.callback_query is not None:
            return _pressed(update, update.callback_query, account)
        if update.my_chat_member is not None:
            return _reach(update.my_chat_member, account)
        if update.message_reaction is not None:
            return _reaction(update, update.message_reaction, account)
        if update.edited_message is not None:
            return _edit(update, update.edited_message, account, username)
        return _message(update, update.message, account, username) if update.message is not None else None
    except (TypeError, AttributeError, LookupError, ArithmeticError, OSError) as error:
        raise ValueError("the update does not have the shape of one") from error


def _message(update: Update, message: Message, account: str, username: str | None) -> InboundMessage | Moved | None:
    chat = message.chat
    if _migrates(message):
        return _moved(message, account)
    author = message.from_user
    if author is None or author.is_bot or chat.type not in ("private", *GROUPS):
        return None
    if chat.type in GROUPS and not _is_for(message, account, username):
        return None
    parts = _parts(message, username if chat.type in GROUPS else None)
    if not parts:
        return None
    answered = message.reply_to_message
    return InboundMessage(
        sender=_address(chat, author, account),
        event_id=f"{update.update_id}{_own_id(message)}",
        parts=parts,
        sent_at=_moment(message.date, "message.date"),
        display_name=_name(author.first_name, author.last_name),
        language=_language(author),
        reply_to=str(_whole(answered.message_id, "message_id")) if answered else None,
    )


def _edit(update: Update, message: Message, account: str, username: str | None) -> Change | None:
    """An edit of a message that may have been for us; whether it was, the store knows."""
    author, chat = message.from_user, message.chat
    if author is None or author.is_bot or chat.type not in ("private", *GROUPS):
        return None
    parts = _parts(message, username if chat.type in GROUPS else None)
    if not parts:
        return None
    return Change(
        author=_address(chat, author, account),
        event_id=str(update.update_id),
        kind="edit",
        target=_own_id(message),
        sent_at=_moment(message.edit_date, "edit_date"),
        parts=parts,
    )


def _reaction(update: Update, reaction: MessageReactionUpdated, account: str) -> Change | None:
    author = reaction.user
    if author is None or author.is_bot:
        return None
    emoji = tuple(
        _words(one.emoji, "emoji")[:NAME_CHARS_MAX]
        for one in reaction.new_reaction
        if isinstance(one, ReactionTypeEmoji)
    )
    return Change(
        author=_address(reaction.chat, author, account),
        event_id=str(update.update_id),
        kind="reaction",
        target=f":{_whole(reaction.message_id, 'message_id')}",
        sent_at=_moment(reaction.date, "date"),
        emoji=emoji[:EMOJI_MAX],
    )


def _pressed(update: Update, query: CallbackQuery, account: str) -> Pressed | None:
    """What the presser could have typed. Data of the form #<n> is the n-th option of the keyboard it hangs on."""
    author, message = query.from_user, query.message
    if author.is_bot:
        return None
    query_id = _words(query.id, "callback_query.id")
    data = _words(query.data, "callback_query.data")
    if not query_id or len(query_id) > NAME_CHARS_MAX:
        raise ValueError("callback_query.id is missing")
    said = data
    if option := _OPTION.fullmatch(data):
        said = _label(message, int(option[1]))
    parts = inbound_text(said) if said.strip() else ()
    if message is None or not parts or message.chat.type not in ("private", *GROUPS):
        return Pressed(query_id, None)
    return Pressed(
        query_id,
        InboundMessage(
            sender=_address(message.chat, author, account),
            event_id=str(update.update_id),
            parts=parts,
            # Telegram does not say when a button was pressed.
            sent_at=datetime.now(UTC),
            display_name=_name(author.first_name, author.last_name),
            language=_language(author),
            reply_to=str(_whole(message.message_id, "message_id")),
        ),
    )


def _label(message: object, number: int) -> str:
    """The words of the n-th button of a message's keyboard, from 1; empty when there is none like it."""
    markup = message.reply_markup if isinstance(message, Message) else None
    buttons = [button for row in markup.inline_keyboard for button in row] if markup else []
    return _words(buttons[number - 1].text, "button") if 1 <= number <= len(buttons) else ""


def _migrates(message: Message) -> bool:
    return message.migrate_to_chat_id is not None or message.migrate_from_chat_id is not None


def _moved(message: Message, account: str) -> Moved | None:
    """A group that became a supergroup: both chats say so, the old one first."""
    here = _whole(message.chat.id, "chat.id")
    old, new = message.migrate_from_chat_id, message.migrate_to_chat_id
    old = here if old is None else _whole(old, "migrate_from_chat_id")
    new = here if new is None else _whole(new, "migrate_to_chat_id")
    if message.chat.type not in GROUPS or old >= 0 or new >= 0 or old == new:
        raise ValueError("a migration names no two groups")
    return Moved(ChannelName.TELEGRAM, account, str(old), str(new))


def _reach(change: ChatMemberUpdated, account: str) -> Reach | None:
    """Whether a chat still lets the bot in: blocked and removed are no, coming back is yes."""
    member = change.new_chat_member
    if str(member.user.id) != account or change.chat.type not in ("private", *GROUPS):
        return None
    room = str(_whole(change.chat.id, "chat.id"))
    return Reach(
        ChannelName.TELEGRAM, account, room, member.status not in ("kicked", "left"), _moment(change.date, "date")
    )


def _address(chat: Chat, author: User, account: str) -> Address:
    room, person = _whole(chat.id, "chat.id"), _whole(author.id, "from.id")
    return Address(ChannelName.TELEGRAM, account, str(room), str(person))


def _own_id(message: Message) -> str:
    """How a message is found again: updates are numbered apart from messages, so an event id ends in the message's."""
    return f":{_whole(message.message_id, 'message_id')}"


def _moment(value: object, field: str) -> datetime:
    if not isinstance(value, datetime):
        raise ValueError(f"{field} is missing")
    return value.astimezone(UTC)


def _language(author: User) -> str | None:
    return _words(author.language_code, "language_code")[:NAME_CHARS_MAX] or None


def _is_for(message: Message, account: str, username: str | None) -> bool:
    """Whether a message in a group speaks to the bot."""
    answered = message.reply_to_message
    if answered and answered.from_user and str(answered.from_user.id) == account:
        return True
    called = f"@{username}".casefold() if username else None
    for entity, words in _named(message):
        match entity.type:
            case MessageEntity.MENTION:
                if words.casefold() == called:
                    return True
            case MessageEntity.TEXT_MENTION:
                if entity.user and str(entity.user.id) == account:
                    return True
            case MessageEntity.BOT_COMMAND:
                _, at, other = words.partition("@")
                if entity.offset == 0 and (not at or f"@{other}".casefold() == called):
                    return True
    return False


def _named(message: Message) -> list[tuple[MessageEntity, str]]:
    """The entities of the text or caption, with the words they stand for."""
    try:
        if message.text is not None:
            return list(message.parse_entities().items())
        return list(message.parse_caption_entities().items()) if message.caption is not None else []
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError("an entity is not what Telegram sends") from error


def _parts(message: Message, username: str | None) -> tuple[Part, ...]:
    said = _said(message, username)
    return forwarded(said) if message.forward_origin is not None else said


def _said(message: Message, username: str | None) -> tuple[Part, ...]:
    if message.text is not None:
        return inbound_text(_without_address(_words(message.text, "text"), username))
    if message.venue is not None or message.location is not None:
        venue = message.venue
        place = venue.location if venue is not None else message.location
        if place is None:
            raise ValueError("a venue has no location")
        label = ", ".join(_words(name, "venue") for name in (venue.title, venue.address) if name) if venue else ""
        return (Location(latitude=place.latitude, longitude=place.longitude, label=label[:512] or None),)
    if message.contact is not None:
        contact = message.contact
        phone = _words(contact.phone_number, "phone_number")[:64]
        return (Contact(name=_name(contact.first_name, contact.last_name) or "", phones=(phone,) if phone else ()),)
    file = _file(message)
    caption = _without_address(_words(message.caption, "caption"), username)
    if file is None:
        return inbound_text(caption)
    if isinstance(file, Voice):
        return (file, *inbound_text(caption))
    if caption:
        file = file.model_copy(update={"caption": caption[:CAPTION_CHARS_MAX]})
    return (file,)


def _file(message: Message) -> Media | Voice | None:
    """The photo, voice note, document or other file of a message: the largest size of a photo."""
    if (voice := message.voice) is not None:
        length_s = _seconds(voice.to_dict().get("duration"))
        return Voice(
            media_type=voice.mime_type or "audio/ogg", ref=voice.file_id, duration_s=length_s, size=voice.file_size
        )
    if message.photo:
        largest = message.photo[-1]
        return Media(media_type="image/jpeg", ref=largest.file_id, size=largest.file_size)
    kinds: Sequence[tuple[Any, str]] = (
        (message.audio, "audio/mpeg"),
        (message.video, "video/mp4"),
        (message.video_note, "video/mp4"),
        (message.document, "application/octet-stream"),
    )
    for file, usual in kinds:
        if file is not None:
            return Media(
                media_type=getattr(file, "mime_type", None) or usual,
                ref=file.file_id,
                filename=_words(getattr(file, "file_name", None), "file_name")[:256] or None,
                size=file.file_size,
            )
    return None


def _seconds(length: object) -> float | None:
    return float(length) if isinstance(length, int | float) and length >= 0 else None


def _without_address(text: str, username: str | None) -> str:
    """Without the bot's own name at the start, behind a first command, or at the end."""
    if not username:
        return text
    called = f"@{username}".casefold()
    first, space, rest = text.partition(" ")
    if first.casefold() == called:
        text = rest.lstrip()
    elif first.startswith("/") and first.casefold().endswith(called):
        text = first[: -len(called)] + space + rest
    if text.casefold().endswith(" " + called):
        text = text[: -len(called)].rstrip()
    return text


def _name(*names: object) -> str | None:
    words = [_words(name, "name") for name in names]
    return " ".join(word for word in words if word).strip()[:NAME_CHARS_MAX] or None


def _words(value: object, field: str) -> str:
    """A string that can be stored; empty for None."""
    if value is None:
        return ""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"{field} is not text")
    return value


def _whole(value: object, field: str) -> int:
    """A whole number of at most 63 bits."""
    if type(value) is not int or abs(value) >= 2**63:
        raise ValueError(f"{field} is not a whole number")
    return value


class TelegramChannel:
    """Our bot; `account` is its id, the number before the colon of its token."""

    name: ChannelName = ChannelName.TELEGRAM
    per_second: float | None = PER_SECOND

    def __init__(
        self,
        settings: Settings,
        inbox: Inbox,
        *,
        files: Files | None = None,
        timeout_s: float = READ_TIMEOUT_S,
        commands: Mapping[str, Sequence[tuple[str, str]]] = NO_COMMANDS,
    ) -> None:
        """`files` are those it sends; `timeout_s` is how long Telegram has to answer once it has the request;
        `commands` are the bot's menus, by the language of the app, and under "" for all others."""
        token = settings.telegram_bot_token.get_secret_value()
        base_url = settings.telegram_base_url.rstrip("/")
        self.account = token.partition(":")[0]
        self._outgoing = Outgoing(files, settings.reached_from(base_url))
        self._inbox = inbox
        self._webhook_url = f"{settings.base_url}/webhooks/telegram"
        self._secret = settings.telegram_webhook_secret.get_secret_value()
        self._by_webhook = settings.public_url.startswith("https://")
        # Loading certificates takes a tenth of a second; a plain http address, which is a simulator's, needs none.
        secure = base_url.startswith("https://")
        trusted = httpx.create_ssl_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._requests = _Requests(timeout_s, CONNECTIONS_MAX, trusted)
        self._polling = _Requests(POLL_S + timeout_s, 2, trusted)
        self._bot = Bot(
            token,
            base_url=f"{base_url}/bot",
            base_file_url=f"{base_url}/file/bot",
            request=self._requests,
            get_updates_request=self._polling,
        )
        self._username: str | None = None
        self._limited_until: dict[str, float] = {}
        self._commands = commands
        self._aside: set[asyncio.Task[None]] = set()

    async def fetch(self, account: str, ref: str, egress: Egress) -> Fetched:
        """The file with this id, of 20 MB at most; its address holds our token and is shown to nobody."""
        try:
            file = await self._bot.get_file(ref)
        except _Refused as error:
            raise RateLimited("Telegram asks us to slow down.", error.retry_after_s) from error
        except (BadRequest, Forbidden, InvalidToken) as error:
            raise ProviderRefused(
                "The file is larger than the 20 MB a bot may fetch."
                if "too big" in error.message.casefold()
                else "Telegram does not have this file for us."
            ) from error
        except TelegramError as error:
            raise ProviderUnavailable("Telegram did not answer.") from error
        if file.file_path is None:
            raise ProviderUnavailable("Telegram's answer names no file.")
        return await egress.get(file.file_path, bytes_max=FILE_BYTES_MAX)

    def pieces(self, message: OutboundMessage) -> int:
        """How many Telegram messages show it."""
        return len(pieces(message.parts, TELEGRAM, self._outgoing.link))

    async def send(self, message: OutboundMessage) -> str:
        """Send its piece once; that message's id in its chat. Raises Undeliverable, NotSent or OutcomeUnknown."""
        room = message.recipient.room
        shown = pieces(message.parts, TELEGRAM, self._outgoing.link)
        if not shown:
            raise Undeliverable("The message is empty.")
        if not _CHAT.fullmatch(room):
            raise Undeliverable("The recipient is not a Telegram chat.")
        piece = shown[message.piece]
        file: str | InputFile = piece.ref if isinstance(piece, FilePiece) else ""
        if isinstance(piece, FilePiece) and file_id(piece.ref):
            kept, data = await self._outgoing.read(message, piece.ref)
            file = InputFile(data, filename=piece.filename or kept.name, attach=False)
        try:
            sent = await self._give(int(room), piece, file)
        except _Refused as error:
            raise self._not_sent(error, room) from error
        except InvalidToken as error:
            # Nothing is wrong with the message: it can go out as soon as the owner has corrected the settings.
            reason = "Telegram refuses our token: check TELEGRAM_BOT_TOKEN."
            raise NotSent(reason, retry_after_s=CREDENTIALS_RETRY_S, whole_channel=True) from error
        except ChatMigrated as error:
            raise Undeliverable("The group became a supergroup, which is another chat.") from error
        except (Forbidden, BadRequest) as error:
            raise Undeliverable(_reason(error)) from error
        except NetworkError as error:
            if isinstance(error.__cause__, NOT_SENT):
                raise NotSent("Telegram could not be reached.") from error
            raise OutcomeUnknown("Telegram did not answer after it was given the message.") from error
        except (TelegramError, *SHAPELESS) as error:
            raise OutcomeUnknown("Telegram's answer could not be read.") from error
        if type(sent.message_id) is not int:
            raise OutcomeUnknown("Telegram's answer names no message.")
        return str(sent.message_id)

    async def _give(self, chat: int, piece: Piece, file: str | InputFile) -> Message:
        keyboard = _keyboard(piece.options)
        match piece:
            case TextPiece():
                return await self._bot.send_message(chat, piece.text, parse_mode=ParseMode.HTML, reply_markup=keyboard)
            case FilePiece():
                more: Any = {
                    "reply_markup": keyboard,
                    "caption": piece.caption or None,
                    "parse_mode": None if piece.kind == "voice" else ParseMode.HTML,
                    "write_timeout": UPLOAD_TIMEOUT_S if isinstance(file, InputFile) else WRITE_TIMEOUT_S,
                }
                match piece.kind:
                    case "photo":
                        return await self._bot.send_photo(chat, file, **more)
                    case "voice":
                        return await self._bot.send_voice(chat, file, **more)
                    case "audio":
                        return await self._bot.send_audio(chat, file, **more)
                    case "video":
                        return await self._bot.send_video(chat, file, **more)
                    case "document":
                        return await self._bot.send_document(chat, file, **more)
            case PlacePiece():
                return await self._bot.send_location(chat, piece.latitude, piece.longitude, reply_markup=keyboard)
            case ContactPiece():
                return await self._bot.send_contact(chat, piece.phone, piece.name, reply_markup=keyboard)
        raise TypeError("a piece that Telegram has no message for")

    def _not_sent(self, refused: "_Refused", room: str) -> NotSent:
        """What a 429 or 503 means for this message and for others.

        Telegram limits one chat and the whole bot with the same answer. While only one chat is told to wait, it is that
        chat's limit; when a second chat is told so during the wait of the first, it is the bot's.
        """
        if refused.status != 429:
            return NotSent("Telegram is not available just now.", retry_after_s=refused.retry_after_s)
        now = time.monotonic()
        self._limited_until = {chat: until for chat, until in self._limited_until.items() if until > now}
        others = any(chat != room for chat in self._limited_until)
        if len(self._limited_until) < LIMITED_CHATS_MAX:
            self._limited_until[room] = now + refused.retry_after_s
        return NotSent("Telegram asks us to slow down.", retry_after_s=refused.retry_after_s, whole_channel=others)

    async def find_sent(self, message: OutboundMessage, since: datetime, exclude: Collection[str]) -> str | None:
        """Raises Unknowable: the Bot API cannot look up what was sent."""
        raise Unknowable("Telegram cannot be asked what it took.")

    async def read(self, raw: object) -> Event | None:
        """What one decoded update tells us, if anything.

        Raises ValueError for what is not an update, TelegramError when Telegram must be asked for the bot's own name,
        which a message in a group may hang on, and does not answer.
        """
        update = read_update(raw)
        message = update.message or update.edited_message
        if self._username is None and message and message.chat.type in GROUPS and not _migrates(message):
            self._username = (await self._bot.get_me()).username
        return parse(update, self.account, self._username)

    async def take(self, events: Sequence[Event]) -> None:
        """Store events in their order; returns after COMMIT. Raises StoreUnavailable: all of them may come again."""
        said: list[InboundMessage] = []
        for event in events:
            match event:
                case InboundMessage():
                    said.append(event)
                case Pressed(message=message):
                    said += [message] if message is not None else []
                case _:
                    # What was said before it must be there for it to change.
                    await self._inbox.receive(said)
                    said = []
                    await (self._inbox.change(event) if isinstance(event, Change) else self._inbox.tell(event))
        await self._inbox.receive(said)
        for event in events:
            if isinstance(event, Pressed):
                self._do_aside(self._bot.answer_callback_query(event.query_id), "telegram.press_unanswered")

    async def show_typing(self, room: str) -> None:
        """Let a chat see that an answer is being made, for five seconds; whether it works is of no consequence."""
        if _CHAT.fullmatch(room):
            self._do_aside(self._bot.send_chat_action(int(room), ChatAction.TYPING), "telegram.typing_unseen")

    def _do_aside(self, call: Coroutine[Any, Any, object], failed: str) -> None:
        """Make a call that nobody waits for."""
        if len(self._aside) >= ASIDE_MAX:
            call.close()
            return

        async def make() -> None:
            try:
                await call
            except (TelegramError, *SHAPELESS) as error:
                log.info(failed, error=type(error).__name__)

        task = asyncio.create_task(make())
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)

    async def run(self) -> None:
        """Have updates brought to our webhook where Telegram can reach it, else poll until cancelled."""
        for code, commands in self._commands.items():
            menu = [BotCommand(name, words[:DESCRIPTION_CHARS_MAX]) for name, words in commands[:COMMANDS_MAX]]
            self._do_aside(self._bot.set_my_commands(menu, language_code=code or None), "telegram.menu_refused")
        if self._by_webhook and self._secret:
            await self._register()
            return
        if self._by_webhook:
            log.warning(
                "telegram.polled",
                reason="TELEGRAM_WEBHOOK_SECRET is not set, so nobody could tell Telegram's calls from forged ones.",
            )
        await self.poll()

    async def _register(self) -> None:
        """Tell Telegram where our webhook is, until it knows."""
        trouble = 0
        while True:
            try:
                await self._bot.set_webhook(
                    self._webhook_url,
                    secret_token=self._secret,
                    allowed_updates=ALLOWED_UPDATES,
                    max_connections=WEBHOOK_CONNECTIONS,
                )
            except TelegramError as error:
                trouble += 1
                await self._pause(error, trouble)
            else:
                log.info("telegram.webhook_set")
                return

    async def poll(self) -> None:
        """Long polling until cancelled: a batch is stored first, and acknowledged to Telegram by the next request.

        A batch that was stored but not acknowledged comes again and is recognised by its update ids, so nothing is lost
        or doubled by a crash. No offset is kept over a restart: after a week of silence Telegram may number from
        anywhere, and a high old offset would discard new messages.
        """
        offset, trouble, webhook_removed = 0, 0, False
        while True:
            try:
                if not webhook_removed:
                    await self._bot.delete_webhook(drop_pending_updates=False)
                    webhook_removed = True
                    log.info("telegram.polling")
                events, last = await self._next_batch(offset)
                await self.take(events)
                if last is not None:
                    offset = last + 1
                trouble = 0
            except (TelegramError, StoreUnavailable) as error:
                trouble += 1
                await self._pause(error, trouble)

    async def _next_batch(self, offset: int) -> tuple[list[Event], int | None]:
        """Wait for updates from `offset` on: what they tell us, and the last update's id when there was any."""
        asked = httpx.QueryParams(
            offset=offset,
            limit=POLL_UPDATES_MAX,
            timeout=POLL_S,
            allowed_updates=orjson.dumps(ALLOWED_UPDATES).decode(),
        )
        # Bot.get_updates reads a batch as a whole: one update it cannot read would hide all others, for ever.
        answer = self._requests.parse_json_payload(
            await self._polling.retrieve(f"{self._bot.base_url}/getUpdates?{asked}")
        )
        updates = answer.get("result")
        if not isinstance(updates, list):
            raise TelegramError("Invalid server response")
        events: list[Event] = []
        last: int | None = None
        for raw in updates:
            update_id = raw.get("update_id") if isinstance(raw, dict) else None
            if type(update_id) is not int:
                raise TelegramError("Invalid server response")
            try:
                event = await self.read(raw)
            except ValueError as error:
                log.warning("telegram.update_unreadable", update_id=update_id, reason=str(error))
                event = None
            if event is not None:
                events.append(event)
            last = update_id if last is None else max(last, update_id)
        return events, last

    async def _pause(self, error: Exception, trouble: int) -> None:
        """Say what is wrong and wait: as Telegram wishes, else longer each time, never all processes at once."""
        wait_s = min(BACKOFF_S * 2.0 ** min(trouble - 1, 10), BACKOFF_S_MAX)
        match error:
            case Conflict():
                wait_s = CONFLICT_S
                log.error(
                    "telegram.conflict",
                    reason="Another program receives this bot's messages, by polling or a webhook. Stop it, or give"
                    " Mathia a bot of its own.",
                    wait_s=wait_s,
                )
            case InvalidToken():
                wait_s = CREDENTIALS_RETRY_S
                log.error("telegram.token_refused", reason="Telegram refuses TELEGRAM_BOT_TOKEN.", wait_s=wait_s)
            case BadRequest():
                wait_s = CREDENTIALS_RETRY_S
                reason = (
                    "Telegram refuses PUBLIC_URL or TELEGRAM_WEBHOOK_SECRET: it wants https, port 443, 80, 88 or 8443."
                )
                log.error("telegram.webhook_refused", reason=reason, wait_s=wait_s)
            case _Refused():
                wait_s = max(wait_s, error.retry_after_s)
                log.warning("telegram.slowed_down", wait_s=wait_s)
            case _:
                log.warning("telegram.trouble", error=type(error).__name__, wait_s=wait_s)
        await asyncio.sleep(wait_s * random.uniform(0.8, 1.2))  # noqa: S311  jitter is no secret

    async def close(self) -> None:
        """Close the connections."""
        for task in self._aside:
            task.cancel()
        await asyncio.gather(*self._aside, return_exceptions=True)
        await self._requests.shutdown()
        await self._polling.shutdown()


def _keyboard(options: Sequence[str]) -> InlineKeyboardMarkup | None:
    """One button an option, short ones side by side. What a press sends back carries no power: it is the option's own
    words, or its number where they are too long for that."""
    if not options:
        return None
    buttons = [
        InlineKeyboardButton(
            option, callback_data=option if len(option.encode()) <= CALLBACK_BYTES_MAX else f"#{number}"
        )
        for number, option in enumerate(options, 1)
    ]
    if sum(map(units, options)) <= BUTTONS_ROW_UNITS:
        return InlineKeyboardMarkup([buttons])
    return InlineKeyboardMarkup([[button] for button in buttons])


def _reason(error: TelegramError) -> str:
    described = error.message.casefold()
    for piece, sentence in REASONS.items():
        if piece in described:
            return sentence
    return "Telegram refused the message."


class _Refused(TelegramError):
    """An answer that says "not now": 429 or 503, with how long to wait."""

    def __init__(self, status: int, retry_after_s: float) -> None:
        super().__init__(f"Telegram answered with status {status}")
        self.status = status
        self.retry_after_s = retry_after_s


class _Requests(HTTPXRequest):
    """The library's HTTP client with our time-outs, which keeps apart what it would report as one NetworkError."""

    def __init__(self, read_timeout_s: float, connections_max: int, trusted: ssl.SSLContext) -> None:
        super().__init__(
            connection_pool_size=connections_max,
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=read_timeout_s,
            write_timeout=WRITE_TIMEOUT_S,
            pool_timeout=CONNECT_TIMEOUT_S,
            httpx_kwargs={"verify": trusted},
        )

    async def do_request(self, *args: Any, **kwargs: Any) -> tuple[int, bytes]:
        """One request; raises _Refused for 429 and 503."""
        status, payload = await super().do_request(*args, **kwargs)
        if status == 429 or status == 503:
            raise _Refused(status, _retry_after_s(payload))
        return status, payload

    @staticmethod
    def parse_json_payload(payload: bytes) -> dict[str, Any]:
        """The JSON object of an answer. The library's own logs the payload, and with it what people wrote."""
        try:
            answer = orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            raise TelegramError("Invalid server response") from error
        if not isinstance(answer, dict):
            raise TelegramError("Invalid server response")
        return answer


def _retry_after_s(payload: bytes) -> float:
    """`parameters.retry_after` of an error, or our own guess."""
    try:
        wait_s = orjson.loads(payload)["parameters"]["retry_after"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return RETRY_AFTER_S
    return min(max(float(wait_s), 0.0), RETRY_AFTER_S_MAX) if type(wait_s) in (int, float) else RETRY_AFTER_S
