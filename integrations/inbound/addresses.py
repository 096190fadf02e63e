"""Which integration an address of the API, or for a chat platform, belongs to."""

import re
from datetime import datetime
from functools import cache
from typing import Any, Final, TypeVar

from django.db import connection, models

from heartbeat_project.kernel.prepared import fetch_prepared
from integrations.models.chat import ChatSettings
from integrations.models.events import EventSettings
from integrations.models.integrations import InboundIntegration

_TOKEN: Final = re.compile(r"[\w-]{1,64}", re.ASCII)
M = TypeVar("M", bound=models.Model)


def chat_integration(token: str, *, now: datetime) -> InboundIntegration | None:
    """Return the Chat integration with this token, or with this former token while it works, with its settings."""
    integration = _by_either_token(token, InboundIntegration.Type.CHAT, now=now)
    chat = None if integration is None else ChatSettings.objects.filter(pk=integration.pk).first()
    if integration is None or chat is None:
        return None
    integration.chat_settings = chat
    return integration


def api_integration(token: str, *, now: datetime) -> InboundIntegration | None:
    """Return the API integration with this token, or with this former token while it works, with its settings."""
    return _by_either_token(token, InboundIntegration.Type.API, now=now)


def _by_either_token(token: str, kind: InboundIntegration.Type, *, now: datetime) -> InboundIntegration | None:
    if not _TOKEN.fullmatch(token):
        return None
    parameters = {"token": token, "now": now, "type": kind.value}
    rows = fetch_prepared(_by_token(), parameters) or fetch_prepared(_by_former_token(), parameters)
    if not rows:
        return None
    count = len(_fields(InboundIntegration))
    integration = _loaded(InboundIntegration, rows[0][:count])
    integration.event_settings = _loaded(EventSettings, rows[0][count:])
    return integration


@cache
def _by_token() -> str:
    """Return the query by token. Each event begins with it; Django would compose it anew each time."""
    return f"{_select()} WHERE integration.token = %(token)s AND integration.type = %(type)s"


@cache
def _by_former_token() -> str:
    return (
        f"{_select()} JOIN integrations_formertoken AS former ON former.integration_id = integration.id"
        " WHERE former.token = %(token)s AND former.ends_at > %(now)s::timestamptz AND integration.type = %(type)s"
    )


def _select() -> str:
    columns = [f"integration.{field.column}" for field in _fields(InboundIntegration)]
    columns += [f"settings.{field.column}" for field in _fields(EventSettings)]
    return (
        f"SELECT {', '.join(columns)} FROM integrations_inboundintegration AS integration"  # noqa: S608 - our columns
        " JOIN integrations_eventsettings AS settings ON settings.integration_id = integration.id"
    )


def _fields(model: type[models.Model]) -> "tuple[models.Field[Any, Any], ...]":
    return tuple(model._meta.concrete_fields)  # noqa: SLF001 - Django's documented Meta API


def _loaded(model: type[M], values: tuple[Any, ...]) -> M:
    """Return an instance with the values of all its columns, as a query of Django's would."""
    converted = []
    for field, value in zip(_fields(model), values, strict=True):
        for convert in field.get_db_converters(connection):
            value = convert(value, None, connection)  # noqa: PLW2901 - one after the other
        converted.append(value)
    return model.from_db(connection.alias, [field.attname for field in _fields(model)], converted)
