"""Any OpenAI-compatible endpoint: the Hugging Face router, a server of one's own. One adapter: address, key, model."""

import json
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import httpx

from core.brain.claude import asked_to_wait_s
from core.brain.llm import (
    SAID_CHARS_MAX,
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

CONNECT_S = 3.0
LINE_BYTES_MAX = 4 * SAID_CHARS_MAX
KEY_REFUSED = frozenset({400, 401, 402, 403, 404})
"""Statuses after which asking again is of no use; of a model it does not have, a router says 400."""
STOPS: Mapping[str, Stop] = {
    "stop": "end", "tool_calls": "calls", "function_call": "calls", "length": "length", "content_filter": "refused",
}  # fmt: skip


class Compatible:
    """One model behind `base_url`, which ends before /chat/completions."""

    parser: Parser = "compatible"

    def __init__(self, base_url: str, api_key: str, name: str) -> None:
        self.name = name
        self._base_url = base_url.rstrip("/")
        self._headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._made: httpx.AsyncClient | None = None

    @property
    def _client(self) -> httpx.AsyncClient:
        """Made at the first call: reading who is to be trusted takes a while."""
        if self._made is None:
            is_tls = self._base_url.startswith("https:")
            tls = httpx.create_ssl_context(trust_env=False) if is_tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._made = httpx.AsyncClient(
                timeout=httpx.Timeout(None, connect=CONNECT_S), headers={"user-agent": "mathia", **self._headers},
                follow_redirects=False, trust_env=False, verify=tls,
            )  # fmt: skip
        return self._made

    async def close(self) -> None:
        """Let go of its connections."""
        if self._made is not None:
            await self._made.aclose()

    async def check(self) -> None:
        """Ask for the list of models, which costs nothing; raises ModelAway."""
        try:
            answer = await self._client.get(f"{self._base_url}/models", timeout=10.0)
        except httpx.HTTPError as error:
            raise ModelAway(type(error).__name__) from None
        if answer.status_code in (401, 403):
            raise ModelAway(f"status {answer.status_code}", status=answer.status_code, refused=True)

    async def step(self, prompt: Prompt, exchanges: Sequence[Exchange], patience: Patience, listen: Listen) -> Said:
        """One answer, streamed, or whole from a server that does not stream; raises ModelAway."""
        return await heard(self._chunks(_request(self.name, prompt, exchanges)), patience, listen)

    async def _chunks(self, body: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        async with self._client.stream("POST", f"{self._base_url}/chat/completions", json=body) as response:
            if response.status_code != 200:
                status = response.status_code
                raise ModelAway(
                    f"status {status}",
                    status=status,
                    wait_s=asked_to_wait_s(response.headers),
                    refused=status in KEY_REFUSED,
                )
            async for chunk in chunks_of(response):
                yield chunk


async def heard(chunks: AsyncIterator[dict[str, Any]], patience: Patience, listen: Listen) -> Said:
    """The answer that chunks make; raises ModelAway where they make none."""
    pieces, began, usage = Pieces(listen), False, Usage()
    stop: object = None
    try:
        async for chunk in patiently(chunks, patience):
            began = True
            usage = _usage(chunk.get("usage")) or usage
            for choice in _listed(chunk.get("choices"))[:1]:
                _take(choice.get("delta") or choice.get("message") or {}, pieces)
                stop = choice.get("finish_reason") or stop
    except ModelAway as away:
        away.usage = away.usage if away.usage.counted else usage
        raise
    except TimeoutError:
        raise ModelAway("silent", began=began, usage=usage) from None
    except httpx.HTTPError as error:
        raise ModelAway(type(error).__name__, began=began, usage=usage) from None
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        raise ModelAway("unreadable", began=began, usage=usage) from None
    if not isinstance(stop, str) or stop not in STOPS:
        raise ModelAway("cut off", began=True, usage=usage)
    return pieces.said("calls" if pieces.calls and STOPS[stop] == "end" else STOPS[stop], usage)


async def chunks_of(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """The chunks of a stream, or the one object of an answer that does not stream."""
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        whole = b""
        async for bit in response.aiter_bytes():
            whole += bit
            if len(whole) > LINE_BYTES_MAX:
                raise ModelAway("answers without an end", began=True)
        yield _object(whole.decode())
        return
    async for line in _lines(response):
        if line.startswith("data:"):
            data = line.removeprefix("data:").strip()
            if data == "[DONE]":
                return
            yield _object(data)


async def _lines(response: httpx.Response) -> AsyncIterator[str]:
    """The lines of a stream; one that never ends is cut off."""
    left = b""
    async for bit in response.aiter_bytes():
        *whole, left = (left + bit).split(b"\n")
        for line in whole:
            yield line.decode().rstrip("\r")
        if len(left) > LINE_BYTES_MAX:
            raise ModelAway("answers without an end", began=True)


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    if value.get("error"):
        raise ModelAway("failed in the middle", began=True)
    return value


def _listed(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _take(delta: Mapping[str, Any], pieces: Pieces) -> None:
    """What a chunk adds to the answer."""
    if isinstance(delta.get("content"), str) and delta["content"]:
        pieces.add_text(delta["content"])
    for at, call in enumerate(_listed(delta.get("tool_calls"))):
        index = call["index"] if isinstance(call.get("index"), int) else at
        function = call.get("function") or {}
        if function.get("name"):
            pieces.begin_call(index, str(call.get("id") or f"call_{index}"), str(function["name"]))
        if isinstance(function.get("arguments"), str):
            pieces.add_arguments(index, function["arguments"])
        elif isinstance(function.get("arguments"), dict):
            pieces.add_arguments(index, json.dumps(function["arguments"]))


def _usage(of: object) -> Usage | None:
    if not isinstance(of, dict):
        return None
    details = of.get("prompt_tokens_details")
    cached = tokens((details if isinstance(details, dict) else {}).get("cached_tokens"))
    return Usage(max(0, tokens(of.get("prompt_tokens")) - cached), tokens(of.get("completion_tokens")), cached)


def _request(name: str, prompt: Prompt, exchanges: Sequence[Exchange]) -> dict[str, Any]:
    messages: list[dict[str, Any]] = [{"role": "system", "content": prompt.system}]
    messages += [{"role": "user" if line.by_person else "assistant", "content": line.text} for line in prompt.history]
    messages.append({"role": "user", "content": f"{prompt.context}\n\n{prompt.text}".strip()})
    for one in exchanges:
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in one.said.calls
        ]
        messages.append({"role": "assistant", "content": one.said.text or None, "tool_calls": calls})
        messages += [{"role": "tool", "tool_call_id": one.call.id, "content": one.text} for one in one.results]
    request: dict[str, Any] = {
        "model": name, "messages": messages, "max_tokens": WORDS_MAX, "stream": True,
        "stream_options": {"include_usage": True},
    }  # fmt: skip
    if prompt.tools:
        request["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool["name"], "description": tool["description"], "parameters": tool["input_schema"],
                },
            }
            for tool in prompt.tools
        ]  # fmt: skip
    return request
