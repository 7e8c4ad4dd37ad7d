"""The API's description, derived from the types that serve it; and a page that shows it."""

import re
from collections.abc import Sequence
from html import escape
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from bot.api.endpoint import Endpoint, Refused

VERSION = "3.1.0"
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
REFUSED = {
    "401": "No token, or nobody's", "403": "You may not do that, or your site has not proved who you are",
    "404": "There is no such thing, or you may not know of it",
    "422": "Something that was sent is not as it should be", "429": "Too many requests; see Retry-After",
    "503": "The database is away; see Retry-After",
}  # fmt: skip


def routes(endpoints: Sequence[Endpoint]) -> list[web.RouteDef]:
    """The description as JSON and as a page."""
    document = describe(endpoints)
    raw, page = orjson.dumps(document), _page(document)

    async def openapi(_request: web.Request) -> web.Response:
        return web.Response(body=raw, content_type="application/json")

    async def docs(_request: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html", headers={"Content-Security-Policy": POLICY})

    return [web.get("/api/openapi.json", openapi), web.get("/api/docs", docs)]


def describe(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The API in OpenAPI 3.1."""
    inputs: list[tuple[type[BaseModel], JsonSchemaMode]] = []
    for one in endpoints:
        inputs += [(model, "validation") for model in (one.body, one.query) if model]
        inputs += [(one.told, "serialization")] if one.told else []
    inputs.append((Refused, "serialization"))
    known, definitions = models_json_schema(list(dict.fromkeys(inputs)), ref_template="#/components/schemas/{model}")
    schemas = definitions.get("$defs", {})
    paths: dict[str, dict[str, Any]] = {}
    for one in endpoints:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, known, schemas)
    return {
        "openapi": VERSION,
        "info": {"title": "Mathia", "version": "1", "description": "Shared rooms of the web."},
        "security": [{"visitor": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "visitor": {"type": "http", "scheme": "bearer", "description": "the token of a web visitor"}
            },
        },
    }


def _operation(one: Endpoint, known: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    id_ = {"type": "string", "format": "uuid"}
    kinds: dict[str, dict[str, Any]] = {"id": id_, "member": id_, "emoji": {"type": "string"}}
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": kinds.get(name, {"type": "integer", "minimum": 1})}
        for name in re.findall(r"\{(\w+)\}", one.path)
    ]
    if one.query:
        asked = schemas[known[one.query, "validation"]["$ref"].rpartition("/")[2]]
        required = asked.get("required", ())
        parameters += [
            {"name": name, "in": "query", "required": name in required, "schema": schema}
            for name, schema in asked["properties"].items()
        ]
    answer: dict[str, Any] = {"description": one.summary}
    if one.told:
        answer["content"] = {"application/json": {"schema": known[one.told, "serialization"]}}
    refused = {"application/json": {"schema": known[Refused, "serialization"]}}
    operation: dict[str, Any] = {
        "summary": one.summary,
        "operationId": f"{one.handler.__module__.rpartition('.')[2]}_{one.handler.__name__}",
        "parameters": parameters,
        "responses": {
            str(one.status): answer,
            **{status: {"description": why, "content": refused} for status, why in REFUSED.items()},
        },
    }
    if one.body:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": known[one.body, "validation"]}},
        }
    return operation


def _page(document: dict[str, Any]) -> str:
    rows = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            asked = ", ".join(
                f"{one['name']}{'' if one['required'] else '?'}"
                for one in operation["parameters"]
                if one["in"] == "query"
            )
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            fields = document["components"]["schemas"].get(body.get("$ref", "").rpartition("/")[2], {})
            required = fields.get("required", ())
            sent = ", ".join(f"{name}{'' if name in required else '?'}" for name in fields.get("properties", {}))
            rows.append(
                f"<tr><td><code>{method.upper()} {escape(path)}</code></td><td>{escape(operation['summary'])}</td>"
                f"<td>{escape(sent or asked)}</td></tr>"
            )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Mathia API</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="/favicon.svg"><link rel="stylesheet" href="/pages.css"></head><body><main>'
        "<h1>Mathia API</h1><p>Send the visitor token of your chat with every request: "
        "<code>Authorization: Bearer …</code>. Exact types are in "
        '<a href="/api/openapi.json">openapi.json</a>. Errors are <code>{"error": {"code", "message", "retry_s"}}'
        "</code>.</p><table><thead><tr><th>Request</th><th>What it does</th><th>What it takes</th></tr></thead><tbody>"
        f"{''.join(rows)}</tbody></table></main></body></html>"
    )
