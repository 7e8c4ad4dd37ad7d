"""An OpenAI-compatible endpoint for chats, as the Hugging Face router serves it; keys begin with hf_ or sk-.

What the model says is in bot/sandbox/obedient.py.
"""

import json
from typing import Any

from bot.sandbox.anthropic import CHARS_A_TOKEN, PIECE_CHARS, in_bits
from bot.sandbox.calls import Answer, Call, answer_json, controls
from bot.sandbox.faults import Faults
from bot.sandbox.obedient import Said, Script, obey
from bot.sandbox.truth import Disk, Journal, JsonObject

PATH = "/v1/chat/completions"
MODELS = ("openai/gpt-oss-120b", "openai/gpt-oss-20b", "local")
FIELDS = frozenset({
    "model", "messages", "stream", "stream_options", "tools", "tool_choice", "parallel_tool_calls", "response_format",
    "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "stop", "user", "n",
})  # fmt: skip
ROLES = ("system", "developer", "user", "assistant", "tool")


class OpenAI:
    """The simulator of one endpoint."""

    name = "openai"

    def __init__(self, disk: Disk) -> None:
        self.journal = Journal(disk, self.name)
        self.faults = Faults()
        self.script = Script()
        self._number = 0

    def too_many(self, retry_after_s: int) -> Answer:
        """Its 429."""
        answer = _error(429, "Rate limit reached for requests", "requests", "rate_limit_exceeded")
        answer.headers = {"Retry-After": str(retry_after_s)}
        return answer

    def broken(self) -> Answer:
        """Its 500; the body is a text, as some providers behind the router answer."""
        return answer_json({"error": "Internal Server Error"}, 500)

    def heal(self) -> None:
        """Forget what was scripted."""
        self.script.clear()

    def reset(self) -> None:
        """Nothing else is remembered here."""

    async def answer(self, call: Call) -> Answer:
        """Serve the API."""
        if call.path == "/_script":
            return answer_json(self.script.set(controls(call)))
        token = call.headers.get("Authorization", "").removeprefix("Bearer ")
        if not token.startswith(("hf_", "sk-")):
            return answer_json({"error": "Invalid username or password."}, 401)
        if call.path == "/v1/models" and call.method == "GET":
            return answer_json({"object": "list", "data": [{"id": name, "object": "model"} for name in MODELS]})
        if call.path != PATH or call.method != "POST":
            return _error(404, f"Invalid URL ({call.method} {call.path})")
        try:
            body = json.loads(call.body)
        except (ValueError, RecursionError):
            return _error(400, "We could not parse the JSON body of your request.")
        if (wrong := _wrong(body)) is not None:
            return _error(400, wrong)
        if body["model"].partition(":")[0] not in MODELS:
            unknown = f"The requested model '{body['model']}' is not supported by any provider you have enabled."
            return _error(400, unknown, code="model_not_supported")
        said = self.script.next(token) or obey(_texts(body), _made(body))
        await self.faults.wait(said.silence_s) if said.silence_s else None
        if said.status is not None:
            self.journal.append({"kind": "refused", "model": body["model"], "status": said.status})
            answer = _error(said.status, "Scripted")
            if said.retry_after is not None:
                answer.headers = {"Retry-After": str(said.retry_after)}
            return answer
        self._number += 1
        usage = _usage(body, said)
        row: JsonObject = {"kind": "completion", "model": body["model"], "calls": [name for name, _ in said.calls]}
        row |= {"usage": usage, "body": body}
        self.journal.append(row | ({"fault": call.fault} if call.fault else {}))
        head = {"id": f"chatcmpl-{self._number}", "created": 1_795_000_000, "model": body["model"]}
        if body.get("stream"):
            pieces = _pieces(
                head, said, usage, with_usage=bool((body.get("stream_options") or {}).get("include_usage"))
            )
            return Answer(200, b"", "text/event-stream", pieces=pieces, is_cut=said.is_cut)
        message: JsonObject = {"role": "assistant", "content": said.text or None}
        if said.calls:
            message["tool_calls"] = [_called(self._number, at, *one) for at, one in enumerate(said.calls)]
        choice = {"index": 0, "message": message, "finish_reason": _stop(said)}
        return answer_json({**head, "object": "chat.completion", "choices": [choice], "usage": usage})


def _wrong(body: Any) -> str | None:
    """What is wrong with a request; None when nothing is."""
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        return "you must provide a model parameter"
    for unknown in sorted(body.keys() - FIELDS):
        return f"Unrecognized request argument supplied: {unknown}"
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return "[] is too short - 'messages'"
    waiting: set[str] = set()
    for message in messages:
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            return "Invalid value for 'role'"
        if message["role"] == "tool":
            if message.get("tool_call_id") not in waiting:
                return "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
            waiting.discard(message["tool_call_id"])
        elif waiting:
            return f"An assistant message with 'tool_calls' must be followed by tool messages: {sorted(waiting)}"
        waiting |= {call["id"] for call in message.get("tool_calls") or ()}
    if waiting:
        return f"An assistant message with 'tool_calls' must be followed by tool messages: {sorted(waiting)}"
    for tool in body.get("tools") or ():
        if tool.get("type") != "function" or not isinstance(tool.get("function", {}).get("name"), str):
            return "Missing required parameter: 'tools[0].function'."
    return None


def _texts(body: JsonObject) -> list[str]:
    return [one["content"] for one in body["messages"] if isinstance(one.get("content"), str)]


def _made(body: JsonObject) -> list[tuple[str, JsonObject]]:
    made = []
    for message in body["messages"]:
        for call in message.get("tool_calls") or ():
            try:
                made.append((call["function"]["name"], json.loads(call["function"]["arguments"])))
            except ValueError:
                continue
    return made


def _usage(body: JsonObject, said: Said) -> dict[str, int]:
    asked = max(1, len(json.dumps([body["messages"], body.get("tools")])) // CHARS_A_TOKEN)
    spoken = len(said.text) + sum(len(name) + len(arguments) for name, arguments in said.calls)
    told = max(1, spoken // CHARS_A_TOKEN)
    return {"prompt_tokens": asked, "completion_tokens": told, "total_tokens": asked + told}


def _stop(said: Said) -> str:
    return {"max_tokens": "length", "refusal": "content_filter"}.get(said.stop or "", said.stop or "") or (
        "tool_calls" if said.calls else "stop"
    )


def _called(number: int, at: int, name: str, arguments: str) -> JsonObject:
    function = {"name": name, "arguments": arguments}
    return {"id": f"call_{number}_{at}", "type": "function", "function": function}


def _pieces(head: JsonObject, said: Said, usage: dict[str, int], *, with_usage: bool) -> list[bytes | float]:
    deltas: list[JsonObject] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": said.text[at : at + PIECE_CHARS]} for at in range(0, len(said.text), PIECE_CHARS)]
    number = int(head["id"].rpartition("-")[2])
    for index, (name, arguments) in enumerate(said.calls):
        begun = _called(number, index, name, "")
        deltas.append({"tool_calls": [{"index": index, **begun}]})
        for at in range(0, len(arguments), PIECE_CHARS):
            bit = {"index": index, "function": {"arguments": arguments[at : at + PIECE_CHARS]}}
            deltas.append({"tool_calls": [bit]})
    chunks: list[JsonObject] = [{"choices": [{"index": 0, "delta": one, "finish_reason": None}]} for one in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": _stop(said)}]})
    if with_usage:
        chunks.append({"choices": [], "usage": usage})
    lines = [
        f"data: {json.dumps({**head, 'object': 'chat.completion.chunk', **chunk}, ensure_ascii=False)}\n\n".encode()
        for chunk in chunks
    ]
    if said.is_noisy:
        lines = [line for one in lines for line in (b": ping\n\n", one)]
    half = len(lines) // 2
    if said.error is not None:
        lines = [*lines[:half], f"data: {json.dumps({'error': {'message': said.error}})}\n\n".encode()]
    elif said.is_cut:
        lines = lines[:half]
    else:
        lines.append(b"data: [DONE]\n\n")
    return in_bits(lines, said)


def _error(status: int, message: str, kind: str = "invalid_request_error", code: str | None = None) -> Answer:
    return answer_json({"error": {"message": message, "type": kind, "param": None, "code": code}}, status)
