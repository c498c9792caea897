"""The OpenAPI 3.1 document, made from the table of routes. Pure."""

import re

from aima_gateway.schemas import SCHEMAS
from aima_gateway.table import ROUTES, Json, Query, Route

TAGS = {
    "cases": "Named collections of files, the unit that people upload and read about.",
    "uploads": "Files on their way in: whole, known already, part by part (tus 1.0), or straight to the store.",
    "media": "Content, immutable, once per tenant however many items have it.",
    "jobs": "What is being done, and why it is not done yet.",
    "entities": "Things and phrases that return across media, numbered. Persons are none: nobody is recognised.",
    "search": "Across everything that was said, shown and seen.",
    "dossiers": "What people read.",
    "keys": "Who may come in.",
    "webhooks": "Who is told by HTTP: signed as https://www.standardwebhooks.com has it, tried for up to a day.",
    "dead letters": "Messages and media that could not be handled: those of the own tenant, and of none.",
    "operations": "For those who run AIMA.",
    "page": "The web page.",
}
PROBLEMS = {
    "400": "The request cannot be read.",
    "401": "No key, or none that is known here.",
    "403": "The key's role does not allow this.",
    "404": "Nothing of this name is visible with this key.",
    "409": "Something else is under way, or in another state.",
    "413": "Too large.",
    "422": "Understood, and refused; the fields are named.",
    "429": "This client asks for too much; come back after Retry-After seconds.",
    "501": "This installation cannot do that; the answer says what to do instead.",
    "503": "A part of AIMA is away or busy; come back after Retry-After seconds.",
    "507": "No room is left to store this.",
}


def document(version: str = "1.0") -> Json:
    """Describe the whole interface."""
    paths: dict[str, Json] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "AIMA",
            "version": version,
            "summary": "From files to a dossier that people can read, search and check.",
            "description": "Every error is a problem of RFC 9457 that says what happened, why, and what to do.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": about} for name, about in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key: `aima_…`, made with `aima keys create`.",
                }
            },
        },
    }


def _operation(route: Route) -> Json:
    operation: Json = {
        "operationId": route.operation,
        "summary": route.summary,
        "tags": [route.tag],
        "responses": {str(route.status): _answer(route), "default": _problem("A problem: see the list of statuses.")},
        "security": [{"key": []}] if route.role is not None else [],
    }
    if parameters := _parameters(route):
        operation["parameters"] = parameters
    if route.role is not None:
        operation["description"] = f"Needs the role {route.role.name}, or one above it."
        operation["responses"] |= {status: _problem(about) for status, about in PROBLEMS.items()}
    if route.body is not None:
        operation["requestBody"] = {"required": route.body != "Reason", "content": _content(route.body)}
    return operation


def _parameters(route: Route) -> list[Json]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    return in_path + [_parameter("query", q) for q in route.query] + [_parameter("header", h) for h in route.headers]


def _parameter(place: str, query: Query) -> Json:
    return {
        "name": query.name,
        "in": place,
        "required": query.required,
        "description": query.about,
        "schema": query.schema,
    }


def _answer(route: Route) -> Json:
    if route.answer is None:
        return {"description": route.summary}
    return {"description": route.summary, "content": _content(route.answer)}


def _content(name: str) -> Json:
    if "/" not in name:
        return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
    return {name: {"schema": {"type": "string"} if name.startswith("text/") else {}}}


def _problem(about: str) -> Json:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": about, "content": {"application/problem+json": {"schema": schema}}}
