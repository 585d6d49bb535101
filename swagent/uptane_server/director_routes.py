"""What a JSON interface of the Director is made of: requests, answers, and a table of routes that also describes it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from swagent.errors import (
    AssignmentError,
    FormatError,
    MetadataTrustError,
    RollbackError,
    SettingsError,
    SwagentError,
)
from swagent.uptane.canonical import load
from swagent.uptane.codecs import json_fields as fields
from swagent.uptane.codecs.base import NotUnderstood
from swagent.uptane.errors import InvalidMetadata, UnknownEcu, UnknownVehicle

OPERATOR, VEHICLE, ANYBODY = "operator", "vehicle", "anybody"
"""Who may ask: an operator; the vehicle that the path names, or that its certificate does; whoever comes."""


class Call(NamedTuple):
    """What was asked.

    Attributes:
        path: values of the path's parts in braces.
        query: of the URL.
        body: all of it.
        vin: the vehicle that asks, "" for an operator.
    """

    path: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    vin: str = ""

    def tree(self) -> Mapping[str, Any]:
        """The body, an object of JSON; an empty one is an empty object.

        Raises:
            NotUnderstood: it is none.
        """
        if not self.body:
            return {}
        return fields.as_mapping(self.value(), "the body")

    def value(self) -> Any:
        """The body, JSON of any kind.

        Raises:
            NotUnderstood: it is none.
        """
        try:
            return load(self.body)
        except ValueError as exc:
            raise NotUnderstood(f"the body is no JSON: {exc}"[:300]) from exc


class Reply(NamedTuple):
    """What is said to it: JSON, or bytes as they are."""

    status: int
    value: Any = None
    raw: bytes | None = None


class Route(NamedTuple):
    """One thing that can be asked.

    Attributes:
        method: of HTTP.
        path: with names in braces.
        call: does it; runs in a thread.
        who: who may ask.
        summary: one sentence for the description.
        body: schema of the request's body, None for none.
        query: names of the query, each with what it is for.
    """

    method: str
    path: str
    call: Callable[[Call], Reply]
    who: str
    summary: str
    body: Mapping[str, Any] | None = None
    query: Mapping[str, str] = {}


def answer(route: Route, call: Call, log: Callable[[str, str], None]) -> Reply:
    """Do it; whatever goes wrong is an answer, which says what, and nothing of how we are made."""
    try:
        return route.call(call)
    except NotUnderstood as exc:
        return failure(400, "InvalidMetadata", str(exc))
    except SwagentError as exc:
        status = status_of(exc)
        log("error" if status == 503 else "warn", f"{route.method} {route.path}: {exc.message}")
        if status == 503:
            return failure(status, "Unavailable", "the inventory cannot be used now", "try again later")
        return failure(status, type(exc).__name__, exc.message, exc.hint)


def failure(status: int, kind: str, message: str, hint: str = "") -> Reply:
    """An error as all interfaces tell it."""
    return Reply(status, {"error": {"class": kind, "message": message[:1000], "hint": hint}})


def status_of(exc: SwagentError) -> int:
    """HTTP's word for an error."""
    families: tuple[tuple[type[SwagentError], int], ...] = (
        (UnknownVehicle, 404),
        (UnknownEcu, 404),
        (InvalidMetadata, 400),
        (FormatError, 400),
        (MetadataTrustError, 403),
        (RollbackError, 409),
        (AssignmentError, 409),
        (SettingsError, 409),
    )
    return next((status for family, status in families if isinstance(exc, family)), 503)


def openapi(routes: tuple[Route, ...], version: str) -> dict[str, Any]:
    """The description of these routes (OpenAPI 3.1)."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        names = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
        operation: dict[str, Any] = {
            "summary": route.summary,
            "operationId": route.call.__name__,
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
            ]
            + [
                {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
                for name, text in route.query.items()
            ],
            "responses": {
                "2XX": {"description": "done"},
                "4XX": {"description": "refused", "content": _json({"$ref": "#/components/schemas/Error"})},
            },
        }
        if route.body is not None:
            operation["requestBody"] = {"required": True, "content": _json(route.body)}
        if route.who == OPERATOR:
            operation["security"] = [{"token": []}, {"password": []}]
        elif route.who == VEHICLE:
            operation["security"] = [{"certificate": []}]
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    text = {"type": "string"}
    error = {"type": "object", "properties": {"class": text, "message": text, "hint": text}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "swagent director", "version": version, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "schemas": {"Error": {"type": "object", "properties": {"error": error}}},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "password": {"type": "http", "scheme": "basic"},
                "certificate": {"type": "mutualTLS"},
            },
        },
    }


def _json(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
