"""A provider's own description of its API (OpenAPI) judges both sides: our client's requests, a simulator's answers.

A proxy stands between them and shares no code with either.
"""

import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import jsonschema
import orjson
from aiohttp import ClientSession, web

BODY_BYTES_MAX = 16 << 20
JSON_TYPES = ("application/json", "application/scim+json")
Twist = Callable[[Any], Any]


def schema(of: Any, schemas: Any) -> Any:
    """An OpenAPI 3.0 schema as a JSON Schema: `nullable` is a type, a `$ref` is looked up."""
    if isinstance(of, list):
        return [schema(one, schemas) for one in of]
    if not isinstance(of, dict):
        return of
    if "$ref" in of:
        return schema(schemas[of["$ref"].rpartition("/")[2]], schemas)
    made = {key: schema(value, schemas) for key, value in of.items() if key not in ("nullable", "discriminator")}
    if of.get("nullable"):
        return {"anyOf": [made, {"type": "null"}]}
    return made


@dataclass
class Referee:
    """The proxy: `faults` is what one of the two sides did that the description does not allow."""

    behind: str
    paths: Any
    schemas: Any
    ours: Mapping[str, set[str]] = field(default_factory=dict)
    """By the type of the body: fields of requests that the provider takes without describing them."""
    url: str = ""
    twist: Twist | None = None
    faults: list[str] = field(default_factory=list)
    seen: set[tuple[str, str]] = field(default_factory=set)

    async def serve(self, request: web.Request) -> web.Response:
        """Pass one request on, and its answer back, and judge both."""
        body = await request.read()
        template, found = next(
            (path, match)
            for path in self.paths
            if (match := re.fullmatch(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path), request.path))
        )
        method = request.method.lower()
        described = self.paths[template].get(method)
        if described is None:
            self.faults.append(f"{method} {template} is not described")
            return web.Response(status=404)
        self.seen.add((method, template))
        self._judge_request(request, body, described, found.groupdict())
        headers = {name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers}
        async with (
            ClientSession() as session,
            session.request(request.method, self.behind + request.path_qs, data=body, headers=headers) as answer,
        ):
            said = await answer.read()
        if self.twist is not None:
            said = orjson.dumps(self.twist(orjson.loads(said)))
        self._judge_answer(answer.status, said, described)
        return web.Response(status=answer.status, body=said, content_type="application/json")

    def _judge_request(self, request: web.Request, body: bytes, described: Any, path: dict[str, str]) -> None:
        for parameter in described.get("parameters", ()):
            where, name = parameter["in"], parameter["name"]
            given = path.get(name) if where == "path" else request.query.get(name) if where == "query" else None
            if given is None:
                if parameter.get("required"):
                    self.faults.append(f"request: {name} is missing")
                continue
            kind = parameter["schema"].get("type")
            self._judge(
                f"request: {name}", int(given) if kind == "integer" else given, self._shape(parameter["schema"])
            )
        known = {parameter["name"] for parameter in described.get("parameters", ()) if parameter["in"] == "query"}
        self.faults += [f"request: query {name} is not described" for name in set(request.query) - known]
        contents = described.get("requestBody", {}).get("content", {})
        if not contents:
            return
        if request.content_type not in contents:
            self.faults.append(f"request: a body of {request.content_type}")
            return
        ours = self.ours.get(request.content_type, set())
        shape = self._shape(contents[request.content_type]["schema"]) | {"unevaluatedProperties": False}
        if request.content_type in JSON_TYPES:
            asked = orjson.loads(body)
            self._judge("request", {name: value for name, value in asked.items() if name not in ours}, shape)
            return
        form: dict[str, Any] = {}
        if request.content_type == "multipart/form-data":
            named = re.findall(rb'; name="([^"]*)"', body)
            self._judge("request", {name.decode(): "" for name in named if name.decode() not in ours}, shape)
            return
        for name, value in parse_qsl(body.decode(), keep_blank_values=True):
            is_list = shape["properties"].get(name, {}).get("type") == "array"
            form[name] = [*form.get(name, []), value] if is_list else value
        self._judge("request", form, shape)

    def _judge_answer(self, status: int, said: bytes, described: Any) -> None:
        allowed = described["responses"].get(str(status))
        if allowed is None:
            if status < 400:
                self.faults.append(f"answer: status {status}")
            return
        self._judge("answer", orjson.loads(said), self._shape(allowed["content"]["application/json"]["schema"]))

    def _judge(self, what: str, value: object, shape: Any) -> None:
        errors = jsonschema.Draft202012Validator(shape).iter_errors(value)
        self.faults += [f"{what}: {error.json_path}: {error.message}" for error in errors]

    def _shape(self, of: Any) -> Any:
        return schema(of, self.schemas)


@asynccontextmanager
async def refereed(
    behind: str, paths: Any, schemas: Any, ours: Mapping[str, set[str]] | None = None
) -> AsyncIterator[Referee]:
    """A referee of `paths` in front of a simulator."""
    made = Referee(behind, paths, schemas, ours or {})
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app.router.add_route("*", "/{path:.*}", made.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()
