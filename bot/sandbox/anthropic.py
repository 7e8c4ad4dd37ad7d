"""Anthropic's Messages API; any key that begins with sk-ant- is good, but for sk-ant-spent, which has no credit left.

What the model says is in bot/sandbox/obedient.py. A prefix that ends in a cache_control is read from the cache when it
comes again.
"""

import hashlib
import json
import re
from typing import Any

from bot.sandbox.calls import Answer, Call, answer_json, controls
from bot.sandbox.faults import Faults
from bot.sandbox.obedient import Said, Script, obey
from bot.sandbox.truth import Disk, Journal, JsonObject

VERSIONS = ("2023-06-01", "2026-10-21")
MODELS = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-haiku-4-5")
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
FIELDS = frozenset({
    "model", "max_tokens", "messages", "system", "tools", "tool_choice", "stop_sequences", "stream", "thinking",
    "output_config", "metadata", "service_tier", "cache_control", "temperature", "top_p", "top_k",
})  # fmt: skip
SAMPLING = ("temperature", "top_p", "top_k")
BREAKPOINTS_MAX = 4
CHARS_A_TOKEN = 4
CACHED_MAX = 500
PIECE_CHARS = 12
KINDS = {
    400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
    404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error", 500: "api_error", 504: "timeout_error",
    529: "overloaded_error",
}  # fmt: skip


class Refusal(Exception):
    """A request that the service does not take, and why."""


class Anthropic:
    """The simulator of Anthropic."""

    name = "anthropic"

    def __init__(self, disk: Disk) -> None:
        self.journal = Journal(disk, self.name)
        self.faults = Faults()
        self.script = Script()
        self._cached: dict[str, int] = {}
        self._number = 0

    def too_many(self, retry_after_s: int) -> Answer:
        """Its 429."""
        return _error(429, "This request would exceed your organization's rate limit.", retry_after_s)

    def broken(self) -> Answer:
        """Its 500."""
        return _error(500, "Internal server error")

    def heal(self) -> None:
        """Forget what was scripted."""
        self.script.clear()

    def reset(self) -> None:
        """Forget what is cached."""
        self._cached.clear()

    async def answer(self, call: Call) -> Answer:
        """Serve the API."""
        if call.path == "/_script":
            return answer_json(self.script.set(controls(call)))
        token = call.headers.get("x-api-key") or call.headers.get("Authorization", "").removeprefix("Bearer ")
        if not token.startswith("sk-ant-"):
            return _error(401, "invalid x-api-key")
        if token == "sk-ant-spent":  # noqa: S105  a name, not a secret
            return _error(402, "Your credit balance is too low to access the Anthropic API.")
        version = call.headers.get("anthropic-version", "")
        if version not in VERSIONS:
            return _error(400, f"anthropic-version: {version!r} is not a valid version.")
        if call.path == "/v1/models" and call.method == "GET":
            data = [{"id": name, "display_name": name, "type": "model"} for name in MODELS]
            return answer_json({"data": data, "has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]})
        if call.path != "/v1/messages" or call.method != "POST":
            return _error(404, "Not found")
        try:
            body = json.loads(call.body)
            if not isinstance(body, dict):
                raise Refusal("The request body is not an object.")
            _judge(body, version)
        except (ValueError, RecursionError):
            return _error(400, "The request body is not valid JSON.")
        except Refusal as refused:
            return _error(400, str(refused))
        if body["model"] not in MODELS:
            return _error(404, f"model: {body['model']}")
        said = self.script.next(token) or obey(_texts(body), _made(body))
        await self.faults.wait(said.silence_s) if said.silence_s else None
        if said.status is not None:
            self.journal.append({"kind": "refused", "model": body["model"], "status": said.status})
            return _error(said.status, "Overloaded" if said.status == 529 else "Scripted", said.retry_after)
        self._number += 1
        usage = self._usage(body, said)
        row: JsonObject = {"kind": "message", "model": body["model"], "calls": [name for name, _ in said.calls]}
        row |= {"usage": usage, "retry": call.headers.get("x-stainless-retry-count"), "body": body}
        self.journal.append(row | ({"fault": call.fault} if call.fault else {}))
        whole = _message(self._number, body["model"], said, usage)
        if not body.get("stream"):
            return answer_json(whole)
        return Answer(200, b"", "text/event-stream", pieces=_pieces(whole, said), is_cut=said.is_cut)

    def _usage(self, body: JsonObject, said: Said) -> dict[str, int]:
        """What is counted; what ends in a cache_control is cached, and read from there the next time."""
        system = body.get("system")
        blocks = [*body.get("tools", ()), *(system if isinstance(system, list) else [{"text": system}])]
        prefix, read, written = "", 0, 0
        for block in blocks:
            prefix += json.dumps({key: value for key, value in block.items() if key != "cache_control"})
            if "cache_control" in block:
                name = hashlib.sha256((body["model"] + prefix).encode()).hexdigest()
                size = len(prefix) // CHARS_A_TOKEN
                if name in self._cached:
                    read, written = size, 0
                else:
                    written = size - read
                    self._cached[name] = size
                    while len(self._cached) > CACHED_MAX:
                        del self._cached[next(iter(self._cached))]
        everything = len(json.dumps([blocks, body["messages"]])) // CHARS_A_TOKEN
        spoken = len(said.text) + sum(len(name) + len(arguments) for name, arguments in said.calls)
        return {
            "input_tokens": max(1, everything - read - written),
            "output_tokens": max(1, spoken // CHARS_A_TOKEN),
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": read,
        }


def _judge(body: JsonObject, version: str) -> None:
    """Raise Refusal for what the service answers 400 to."""
    for unknown in sorted(body.keys() - FIELDS):
        raise Refusal(f"{unknown}: Extra inputs are not permitted")
    for name in SAMPLING:
        if name in body and version == "2026-10-21":
            raise Refusal(f"{name}: sampling parameters are not supported in this version")
    if not isinstance(body.get("model"), str):
        raise Refusal("model: Field required")
    most = body.get("max_tokens")
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        raise Refusal("max_tokens: Field required")
    names = [tool.get("name") for tool in body.get("tools", ())]
    if not all(isinstance(name, str) and NAME.fullmatch(name) for name in names) or len(set(names)) < len(names):
        raise Refusal("tools: Tool names must be unique and match ^[a-zA-Z0-9_-]{1,64}$")
    for tool in body.get("tools", ()):
        schema = tool.get("input_schema")
        if not isinstance(schema, dict) or schema.get("type") != "object":
            raise Refusal("tools.0.input_schema.type: Field required")
    if "tool_choice" in body and not names:
        raise Refusal("tool_choice may only be specified while providing tools")
    if json.dumps(body).count('"cache_control"') > BREAKPOINTS_MAX:
        raise Refusal(f"A maximum of {BREAKPOINTS_MAX} blocks with cache_control may be provided.")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refusal("messages: at least one message is required")
    if messages[0].get("role") != "user":
        raise Refusal('messages: first message must use the "user" role')
    if messages[-1].get("role") != "user":
        raise Refusal("This model does not support assistant message prefill.")
    waiting: list[str] = []
    for at, message in enumerate(messages):
        blocks = _blocks(message)
        if not blocks or any(block.get("type") == "text" and not block.get("text", "").strip() for block in blocks):
            raise Refusal(f"messages.{at}: text content blocks must be non-empty")
        if message["role"] == "user":
            first = [block.get("tool_use_id") for block in blocks[: len(waiting)]]
            results = [block.get("tool_use_id") for block in blocks if block.get("type") == "tool_result"]
            if sorted(map(str, first)) != sorted(waiting) or len(results) != len(waiting):
                raise Refusal(
                    f"messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately after, or the"
                    " other way round"
                )
            waiting = []
        elif message["role"] == "assistant":
            if waiting:
                raise Refusal(f"messages.{at}: `tool_use` ids were found without `tool_result` blocks")
            waiting = [str(block.get("id")) for block in blocks if block.get("type") == "tool_use"]
        else:
            raise Refusal(f"messages.{at}.role: Input should be 'user' or 'assistant'")


def _blocks(message: JsonObject) -> list[JsonObject]:
    content = message.get("content")
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content or ())


def _texts(body: JsonObject) -> list[str]:
    """All that the model reads, oldest first."""
    system = body.get("system") or ""
    found = [system] if isinstance(system, str) else [block.get("text", "") for block in system]
    for message in body["messages"]:
        if message["role"] != "user":
            found += [block.get("text", "") for block in _blocks(message)]
            continue
        for block in _blocks(message):
            content: Any = block.get("content", block.get("text", ""))
            found += [content] if isinstance(content, str) else [one.get("text", "") for one in content]
    return found


def _made(body: JsonObject) -> list[tuple[str, JsonObject]]:
    """The calls it has made, without what is not an argument of the action."""
    return [
        (block["name"], block["input"])
        for message in body["messages"]
        for block in _blocks(message)
        if block.get("type") == "tool_use"
    ]


def _message(number: int, model: str, said: Said, usage: dict[str, int]) -> JsonObject:
    content: list[JsonObject] = [{"type": "text", "text": said.text}] if said.text else []
    for at, (name, arguments) in enumerate(said.calls):
        try:
            given = json.loads(arguments)
        except ValueError:
            given = {}
        content.append({"type": "tool_use", "id": f"toolu_{number:08}{at:02}", "name": name, "input": given})
    stop = said.stop or ("tool_use" if said.calls else "end_turn")
    return {
        "id": f"msg_{number:08}", "type": "message", "role": "assistant", "model": model, "content": content,
        "stop_reason": stop, "stop_sequence": None, "usage": usage,
    }  # fmt: skip


def _pieces(whole: JsonObject, said: Said) -> list[bytes | float]:
    """The message as events of a stream, in bits."""
    begun = {**whole, "content": [], "stop_reason": None, "usage": {**whole["usage"], "output_tokens": 1}}
    events: list[JsonObject] = [{"type": "message_start", "message": begun}]
    raw = iter(arguments for _, arguments in said.calls)
    for at, block in enumerate(whole["content"]):
        start, kind, field, words = {**block, "text": ""}, "text_delta", "text", said.text
        if block["type"] == "tool_use":
            start, kind, field, words = {**block, "input": {}}, "input_json_delta", "partial_json", next(raw)
        events.append({"type": "content_block_start", "index": at, "content_block": start})
        events += [{"type": "ping"}, {"type": "weather_report", "sky": "clear"}] if said.is_noisy else []
        for begin in range(0, len(words), PIECE_CHARS):
            delta = {"type": kind, field: words[begin : begin + PIECE_CHARS]}
            events.append({"type": "content_block_delta", "index": at, "delta": delta})
        events.append({"type": "content_block_stop", "index": at})
    end = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    events.append({"type": "message_delta", "delta": end, "usage": {"output_tokens": whole["usage"]["output_tokens"]}})
    events.append({"type": "message_stop"})
    half = len(events) // 2
    if said.error is not None:
        events = [*events[:half], {"type": "error", "error": {"type": said.error, "message": "Overloaded"}}]
    elif said.is_cut:
        events = events[:half]
    lines = [f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode() for event in events]
    return in_bits(lines, said)


def in_bits(lines: list[bytes], said: Said) -> list[bytes | float]:
    """Lines of a stream as it comes: in bits of `piece_bytes`, with a stall in its middle where there is to be one."""
    pieces: list[bytes | float] = []
    for at, line in enumerate(lines):
        if said.stall_s and at == len(lines) // 2:
            pieces.append(said.stall_s)
        size = said.piece_bytes or len(line)
        pieces += [line[begin : begin + size] for begin in range(0, len(line), size)]
    return pieces


def _error(status: int, message: str, retry_after_s: int | None = None) -> Answer:
    body = {"type": "error", "error": {"type": KINDS.get(status, "api_error"), "message": message}}
    headers = {"request-id": "req_sandbox"}
    if retry_after_s is not None:
        headers["retry-after"] = str(retry_after_s)
    return answer_json({**body, "request_id": "req_sandbox"}, status, headers)
