"""The OpenAPI document, made from the route table and the view types."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
from aiohttp import web
from msgspec import Struct

from eventd import __version__
from eventd.web.pages import PAGE_BYTES
from eventd.web.views import Problem

JSON = "application/json"
PAGING = {
    "limit": f"Items a page has at most; it ends before where they make {PAGE_BYTES >> 20} MiB",
    "after": "`next` of the page before; a list ends where that is null",
}


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
    also: tuple[tuple[int, type[Struct]], ...] = ()  # other good answers, by status


def document(routes: Sequence[Route], choices: Mapping[str, Sequence[str]]) -> dict[str, object]:
    """OpenAPI 3.1 of the routes; `choices` are the words that a parameter of the query takes."""
    types: dict[type[Struct], None] = {Problem: None}
    for route in routes:
        types.update({one: None for one in (route.answer, route.body) if one is not None})
        types.update({one: None for _, one in route.also})
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
        parameter: dict[str, object] = {"name": name, "in": "query", "schema": taken}
        if name in PAGING:
            parameter["description"] = PAGING[name]
        parameters.append(parameter)
    error = {
        "description": "What is wrong",
        "content": {"application/problem+json": {"schema": of[Problem]}},
    }
    operation: dict[str, object] = {
        "summary": route.summary,
        "operationId": _name_of(route),
        "parameters": parameters,
        "responses": {**_answers(route, of), "default": error},
    }
    if route.body is not None:
        operation["requestBody"] = {"content": {"application/json": {"schema": of[route.body]}}}
    return operation


def _answers(route: Route, of: dict[type[Struct], dict[str, object]]) -> dict[str, object]:
    found: dict[int, list[dict[str, object]]] = {route.status: []}
    if route.answer is not None:
        found[route.status].append(_page_of(of[route.answer]) if route.many else of[route.answer])
    elif route.content != JSON:
        found[route.status].append({"type": "string"})
    for status, kind in route.also:
        found.setdefault(status, []).append(of[kind])
    answers: dict[str, object] = {}
    for status, schemas in found.items():
        again = "" if status == route.status else ": the same Idempotency-Key again"
        answer: dict[str, object] = {"description": route.summary + again}
        if schemas:
            schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
            answer["content"] = {route.content: {"schema": schema}}
        answers[str(status)] = answer
    return answers


def _page_of(schema: dict[str, object]) -> dict[str, object]:
    return {
        "type": "object",
        "properties": {
            "items": {"type": "array", "items": schema},
            "next": {"type": ["string", "null"]},
        },
        "required": ["items", "next"],
    }


def _name_of(route: Route) -> str:
    parts = [part for part in route.path.split("/")[3:] if not part.startswith("{")]
    one = "" if route.many or route.method != "GET" else "_one"
    return "_".join([route.method.lower(), *parts]) + one
