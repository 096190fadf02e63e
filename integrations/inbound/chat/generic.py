"""Anything else that can POST a text with a token (pure)."""

from collections.abc import Mapping
from typing import Any, Final

from integrations.inbound.chat.requests import ChatRequest, Origin, name_in, storable, text_in
from integrations.inbound.chat.wire import form, json_object

_BEARER: Final = "bearer "


def fields_of(raw: bytes, headers: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the fields of a request: JSON, a form, or a text."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if raw.lstrip()[:1] == b"{" and (found := json_object(raw)) is not None:
        return found
    if kind == "application/x-www-form-urlencoded":
        fields = form(raw) or {}
        if "text" in fields or "token" in fields:
            return fields
    return {"text": storable(raw.decode("utf-8", "replace"))}


def token_of(fields: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    """Return the token of a request: in its header Authorization, or among its fields."""
    authorization = headers.get("authorization", "")
    if authorization[: len(_BEARER)].lower() == _BEARER:
        return authorization[len(_BEARER) :].strip()
    return name_in(fields, "token", limit=1_000)


def read(fields: Mapping[str, Any], headers: Mapping[str, str]) -> ChatRequest:
    """Return what a request says whose token is right."""
    request_id = name_in(fields, "id") or name_in(headers, "idempotency-key")
    return ChatRequest(
        platform="generic",
        origin=Origin.COMMAND,
        id=request_id,
        text=text_in(fields, "text"),
        channel=name_in(fields, "channel"),
        channel_name=name_in(fields, "channel_name") or name_in(fields, "channel"),
        member=name_in(fields, "user"),
        member_name=name_in(fields, "user_name") or name_in(fields, "user"),
        message=name_in(fields, "message"),
        thread=name_in(fields, "thread"),
        permalink=name_in(fields, "permalink", limit=1_000),
    )
