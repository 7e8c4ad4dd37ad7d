"""Claude by Anthropic's Messages API. The SDK is large and is only imported where there is a key."""

import asyncio
import importlib
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from core.brain.llm import (
    WORDS_MAX,
    Exchange,
    Listen,
    ModelAway,
    Parser,
    Patience,
    Pieces,
    Prompt,
    Said,
    Stop,
    Usage,
    patiently,
    tokens,
)

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

KEY_REFUSED = frozenset({401, 402, 403, 404})
"""Statuses after which asking again is of no use: the key, the account behind it, or the model's name is no good."""
STOPS: Mapping[str, Stop] = {
    "end_turn": "end", "stop_sequence": "end", "tool_use": "calls", "max_tokens": "length",
    "model_context_window_exceeded": "length", "refusal": "refused",
}  # fmt: skip


class Connection:
    """The SDK's client, made at the first call, and shared by the models behind one key."""

    def __init__(self, api_key: str, base_url: str) -> None:
        self._api_key = api_key
        self._base_url = base_url
        self._client: AsyncAnthropic | None = None
        self._making = asyncio.Lock()

    async def client(self) -> "AsyncAnthropic":
        """The client; importing the SDK takes a second of a processor, in a thread."""
        async with self._making:
            if self._client is None:
                sdk = await asyncio.to_thread(importlib.import_module, "anthropic")
                # Whoever asks us to wait is heard in core/brain/chain.py, and the clock of a turn runs there.
                self._client = sdk.AsyncAnthropic(api_key=self._api_key, base_url=self._base_url, max_retries=0)
            return self._client

    async def close(self) -> None:
        """Let go of its connections."""
        if self._client is not None:
            await self._client.close()


class Claude:
    """One of Anthropic's models."""

    parser: Parser = "claude"

    def __init__(self, connection: Connection, name: str) -> None:
        self.name = name
        self._connection = connection

    async def close(self) -> None:
        """Let go of its connections."""
        await self._connection.close()

    async def check(self) -> None:
        """Ask for the list of models, which costs nothing; raises ModelAway."""
        client = await self._connection.client()
        try:
            await client.models.list(limit=1, timeout=10.0)
        except Exception as error:
            raise _away(error, Usage(), began=False) from None

    async def step(self, prompt: Prompt, exchanges: Sequence[Exchange], patience: Patience, listen: Listen) -> Said:
        """One answer, streamed; raises ModelAway."""
        began = time.monotonic()
        client = await self._connection.client()
        try:
            async with asyncio.timeout(max(0.1, patience.first_s - (time.monotonic() - began))):
                stream = await client.messages.create(**_request(self.name, prompt, exchanges), stream=True)
        except TimeoutError:
            raise ModelAway("silent") from None
        except Exception as error:
            raise _away(error, Usage(), began=False) from None
        async with stream:
            return await heard(aiter(stream), patience, listen)


async def heard(events: AsyncIterator[Any], patience: Patience, listen: Listen) -> Said:
    """The answer that the events of a stream make; raises ModelAway where they make none."""
    pieces, usage, is_whole = Pieces(listen), Usage(), False
    stop: object = None
    try:
        async for event in patiently(events, patience):
            match getattr(event, "type", None):
                case "message_start":
                    usage = _usage(event.message.usage)
                case "content_block_start" if event.content_block.type == "tool_use":
                    pieces.begin_call(event.index, str(event.content_block.id), str(event.content_block.name))
                case "content_block_delta" if event.delta.type == "text_delta":
                    pieces.add_text(event.delta.text)
                case "content_block_delta" if event.delta.type == "input_json_delta":
                    pieces.add_arguments(event.index, event.delta.partial_json)
                case "message_delta":
                    stop = event.delta.stop_reason
                    usage = Usage(usage.fresh, tokens(event.usage.output_tokens), usage.cached)
                case "message_stop":
                    is_whole = True
        said = pieces.said("end", usage)
    except ModelAway as away:
        away.usage = usage
        raise
    except TimeoutError:
        raise ModelAway("silent", began=bool(usage.fresh), usage=usage) from None
    except Exception as error:
        raise _away(error, usage, began=bool(usage.fresh)) from None
    if not is_whole or not isinstance(stop, str) or stop not in STOPS:
        raise ModelAway("cut off", began=True, usage=usage)
    return replace(said, stop=STOPS[stop])


def _request(name: str, prompt: Prompt, exchanges: Sequence[Exchange]) -> dict[str, Any]:
    """The body. What is the same for everybody comes first and ends in the mark up to which it is cached."""
    messages: list[dict[str, Any]] = []
    for line in prompt.history:
        _add(messages, "user" if line.by_person else "assistant", {"type": "text", "text": line.text})
    if messages and messages[0]["role"] == "assistant":
        del messages[0]
    if prompt.context:
        _add(messages, "user", {"type": "text", "text": prompt.context})
    _add(messages, "user", {"type": "text", "text": prompt.text})
    for one in exchanges:
        if one.said.text:
            _add(messages, "assistant", {"type": "text", "text": one.said.text})
        for call in one.said.calls:
            given = _parsed(call.arguments)
            _add(messages, "assistant", {"type": "tool_use", "id": call.id, "name": call.name, "input": given})
        for result in one.results:
            block = {"type": "tool_result", "tool_use_id": result.call.id, "content": result.text}
            _add(messages, "user", {**block, "is_error": True} if result.is_error else block)
    request: dict[str, Any] = {
        "model": name,
        "max_tokens": WORDS_MAX,
        "system": [{"type": "text", "text": prompt.system, "cache_control": {"type": "ephemeral"}}],
        "messages": messages,
    }
    if prompt.tools:
        request["tools"] = list(prompt.tools)
    return request


def _add(messages: list[dict[str, Any]], role: str, block: dict[str, Any]) -> None:
    if not messages or messages[-1]["role"] != role:
        messages.append({"role": role, "content": []})
    messages[-1]["content"].append(block)


def _parsed(arguments: str) -> dict[str, Any]:
    """Arguments as they are shown back to the model, which wrote them; those that are no object, as none."""
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _usage(of: Any) -> Usage:
    fresh = tokens(of.input_tokens) + tokens(getattr(of, "cache_creation_input_tokens", 0))
    return Usage(fresh, tokens(of.output_tokens), tokens(getattr(of, "cache_read_input_tokens", 0)))


def _away(error: Exception, usage: Usage, *, began: bool) -> ModelAway:
    """What an error of the SDK means. Its text is not passed on: it may hold what people wrote."""
    status = getattr(error, "status_code", None)
    if isinstance(status, int) and status >= 400:
        wait_s = asked_to_wait_s(error.response.headers)  # type: ignore[attr-defined]  # every error with a status has one
        reason = f"status {status}"
        return ModelAway(reason, status=status, wait_s=wait_s, refused=status in KEY_REFUSED, usage=usage, began=began)
    return ModelAway(type(error).__name__, began=began, usage=usage)


def asked_to_wait_s(headers: Mapping[str, str]) -> float | None:
    """How long we are asked to wait, in seconds; None where nothing readable is said."""
    milliseconds, seconds = headers.get("retry-after-ms", ""), headers.get("retry-after", "").strip()
    if milliseconds.isascii() and milliseconds.isdigit() and len(milliseconds) <= 9:
        return int(milliseconds) / 1000
    if seconds.isascii() and seconds.isdigit() and len(seconds) <= 6:
        return float(seconds)
    try:
        moment = parsedate_to_datetime(seconds)
    except ValueError:
        return None
    return max(0.0, (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds())
