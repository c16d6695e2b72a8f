"""The OpenAPI document, made from the route table and the view types."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
from aiohttp import web
from msgspec import Struct

from eventd import __version__
from eventd.web.views import Problem

JSON = "application/json"


class Route(Struct, frozen=True):
    """One row of the table: where, what for, who answers, and the types it speaks."""

    method: str
    path: str
    summary: str
    handler: Callable[[web.Request], Awaitable[web.Response]]
    answer: type[Struct] | None
    query: tuple[str, ...] = ()
    body: type[Struct] | None = None
    many: bool = False
    status: int = 200
    content: str = JSON


def document(routes: Sequence[Route], choices: Mapping[str, Sequence[str]]) -> dict[str, object]:
    """OpenAPI 3.1 of the routes; `choices` are the words that a parameter of the query takes."""
    types: dict[type[Struct], None] = {Problem: None}
    for route in routes:
        types.update({one: None for one in (route.answer, route.body) if one is not None})
    schemas, components = msgspec.json.schema_components(
        list(types), ref_template="#/components/schemas/{name}"
    )
    of = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, object]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, of, choices)
    return {
        "openapi": "3.1.0",
        "info": {"title": "eventd", "version": __version__},
        "paths": paths,
        "components": {"schemas": components},
    }


def _operation(
    route: Route,
    of: dict[type[Struct], dict[str, object]],
    choices: Mapping[str, Sequence[str]],
) -> dict[str, object]:
    parameters: list[dict[str, object]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", route.path)
    ]
    for name in route.query:
        taken: dict[str, object] = {"type": "integer" if name == "limit" else "string"}
        if name in choices:
            taken["enum"] = list(choices[name])
        parameters.append({"name": name, "in": "query", "schema": taken})
    answer: dict[str, object] = {"description": route.summary}
    if route.answer is not None:
        schema: dict[str, object] = of[route.answer]
        if route.many:
            schema = {
                "type": "object",
                "properties": {
                    "items": {"type": "array", "items": schema},
                    "next": {"type": ["string", "null"]},
                },
                "required": ["items", "next"],
            }
        answer["content"] = {"application/json": {"schema": schema}}
    elif route.content != JSON:
        answer["content"] = {route.content: {"schema": {"type": "string"}}}
    error = {
        "description": "What is wrong",
        "content": {"application/problem+json": {"schema": of[Problem]}},
    }
    operation: dict[str, object] = {
        "summary": route.summary,
        "operationId": _name_of(route),
        "parameters": parameters,
        "responses": {str(route.status): answer, "default": error},
    }
    if route.body is not None:
        operation["requestBody"] = {"content": {"application/json": {"schema": of[route.body]}}}
    return operation


def _name_of(route: Route) -> str:
    parts = [part for part in route.path.split("/")[3:] if not part.startswith("{")]
    one = "" if route.many or route.method != "GET" else "_one"
    return "_".join([route.method.lower(), *parts]) + one
