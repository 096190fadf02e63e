"""`/api/v1/docs/`: the management API as a page to read and to try, made from the OpenAPI document.

The document is the same for everybody, so each process renders its part of the page once.
"""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer

METHODS: Final = ("get", "post", "put", "patch", "delete")
_API: Final = "/api/v1/"
_SCHEMAS: Final = "#/components/schemas/"
# Depth of a sample body; deeper objects stand as {}.
MAX_DEPTH: Final = 3
_SAMPLES: Final[dict[str, Any]] = {"integer": 1, "number": 1.0, "boolean": True, "null": None}
_lock = threading.Lock()
_rendered: dict[str, SafeString] = {}


@dataclass(frozen=True, slots=True)
class Kind:
    """The type of a value in words, and the schema that it is, if it has a name."""

    text: str
    schema: str = ""


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter of a call, or a field of a schema; `place` says where a parameter stands."""

    name: str
    kind: Kind
    is_required: bool
    text: str
    place: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """One status that a call is answered with."""

    status: str
    kind: Kind | None
    text: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One call: its first sentence, the rest of its text, what it takes, and how it is answered."""

    slug: str
    method: str
    path: str
    title: str
    text: str
    parameters: list[Field]
    body: Kind | None
    sample: str
    answers: list[Answer]


@dataclass(frozen=True, slots=True)
class Group:
    """The calls of one resource."""

    slug: str
    name: str
    operations: list[Operation]


@dataclass(frozen=True, slots=True)
class Schema:
    """An object that calls take or return."""

    name: str
    text: str
    fields: list[Field]
    kind: Kind | None


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """Show the reference."""
    return render(request, "api_docs.html", {"reference": _reference()})


def _reference() -> SafeString:
    """Return the part of the page that is the same for everybody; the first request makes it."""
    with _lock:
        if "page" not in _rendered:
            _rendered["page"] = render_to_string("api_docs_reference.html", reference_of(_document()))
    return _rendered["page"]


def _document() -> dict[str, Any]:
    generator: Any = SchemaGenerator(api_version="1")  # type: ignore[no-untyped-call] # the library has no types
    schema = generator.get_schema(request=None, public=True)
    document: dict[str, Any] = json.loads(OpenApiJsonRenderer().render(schema))
    return document


def reference_of(document: dict[str, Any]) -> dict[str, Any]:
    """Return what the template shows of an OpenAPI document."""
    schemas = document["components"]["schemas"]
    groups: dict[str, Group] = {}
    for path, calls in document["paths"].items():
        name = path.removeprefix(_API).strip("/").partition("/")[0] if path.startswith(_API) else path.split("/")[1]
        group = groups.setdefault(name, Group(name.lower(), name, []))
        group.operations.extend(
            _operation(path, method, calls[method], schemas) for method in METHODS if method in calls
        )
    return {
        "text": document["info"]["description"],
        "groups": sorted(groups.values(), key=lambda group: group.slug),
        "schemas": [_schema(name, schema) for name, schema in sorted(schemas.items())],
    }


def _operation(path: str, method: str, call: dict[str, Any], schemas: dict[str, Any]) -> Operation:
    title, _, text = call.get("description", "").partition("\n")
    content = call.get("requestBody", {}).get("content", {})
    body = content.get("application/json", {}).get("schema")
    parameters = [
        Field(entry["name"], _kind(entry["schema"]), entry.get("required", False), _text(entry), entry["in"])
        for entry in call.get("parameters", [])
    ]
    return Operation(
        slug=call["operationId"].removeprefix("api_v1_").replace("_", "-"),
        method=method,
        path=path,
        title=title,
        text=text.strip(),
        parameters=sorted(parameters, key=lambda field: ("path", "query", "header").index(field.place)),
        body=_kind(body) if body else None,
        sample=json.dumps(_sample(body, schemas), indent=2) if body else "",
        answers=list(_answers(call)),
    )


def _answers(call: dict[str, Any]) -> Iterator[Answer]:
    for status, answer in sorted(call.get("responses", {}).items()):
        contents = list(answer.get("content", {}).values())
        schema = contents[0].get("schema") if contents else None
        yield Answer(status, _kind(schema) if schema else None, answer.get("description", ""))


def _schema(name: str, schema: dict[str, Any]) -> Schema:
    required = set(schema.get("required", ()))
    fields = [
        Field(field, _kind(value), field in required, _text(value))
        for field, value in schema.get("properties", {}).items()
    ]
    return Schema(name, schema.get("description", ""), fields, None if fields else _kind(schema))


def _text(entry: dict[str, Any]) -> str:
    """Return what a schema says about a value; the list of an enumeration's labels is left out."""
    text: str = entry.get("description") or entry.get("schema", {}).get("description", "")
    return text.partition("\n\n* `")[0].partition("* `")[0].strip()


def _kind(schema: dict[str, Any]) -> Kind:
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_SCHEMAS)
        return Kind(name, name)
    for joined in ("allOf", "oneOf", "anyOf"):
        if joined in schema:
            kinds = [_kind(part) for part in schema[joined]]
            named = next((kind.schema for kind in kinds if kind.schema), "")
            return Kind(" or ".join(kind.text for kind in kinds), named)
    if "enum" in schema:
        return Kind(" or ".join("null" if value is None else f"“{value}”" for value in schema["enum"]))
    if schema.get("type") == "array":
        kind = _kind(schema.get("items", {}))
        return Kind(f"list of {kind.text}", kind.schema)
    names = schema.get("type", "any value")
    text = " or ".join(names) if isinstance(names, list) else str(names)
    text = f"{text} ({schema['format']})" if "format" in schema else text
    return Kind(f"{text} or null" if schema.get("nullable") else text)


def _sample(schema: dict[str, Any], schemas: dict[str, Any], depth: int = 0) -> Any:
    """Return a body of this form: what is required, and where nothing is, every field that may be set."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].removeprefix(_SCHEMAS)]
    for joined in ("allOf", "oneOf", "anyOf"):
        if joined in schema:
            return _sample(schema[joined][0], schemas, depth)
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "array":
        return [] if depth > 1 else [_sample(schema.get("items", {}), schemas, depth + 1)]
    if schema.get("type") in {"object", None} or "properties" in schema:
        if depth >= MAX_DEPTH:
            return {}
        properties = schema.get("properties", {})
        names = [name for name in properties if name in schema.get("required", ())] or list(properties)
        return {name: _sample(properties[name], schemas, depth + 1) for name in names}
    names = schema["type"]
    return _SAMPLES.get(names[0] if isinstance(names, list) else names, "text")
