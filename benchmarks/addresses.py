"""All addresses that answer a GET, from the URL resolver, each with an example; one without an example is refused.

A parameter of an address is filled in by `EXAMPLES`, and of a page of Configuration or a resource of the API by the id
of `OBJECTS`. What is not measured is in `LEFT_OUT`, with the reason.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib import admin
from django.urls import URLResolver, get_resolver

from benchmarks.installation import ALERTS, API_INTEGRATION, BUNDLE, EVENTS
from escalation.responses.tokens import token
from heartbeat_project.urls import router

LIVE_ALERT: Final = ALERTS - 8  # open, and the Owner was notified of it
SILENT_HEARTBEAT: Final = 300
# The ids of the objects that are opened, by model; of all others the first is opened.
OBJECTS: Final = {
    "alerting.alert": LIVE_ALERT,
    "accounts.user": 10,
    "accounts.group": 10,
    "accounts.role": 1000,
    "escalation.shift": 1001,
    "integrations.inboundintegration": SILENT_HEARTBEAT,
    "integrations.inboundevent": EVENTS + 1,  # a mail that could not be read
}
EXAMPLES: Final = {
    "alerts/<alert_id>": str(LIVE_ALERT),
    "alerts/<alert_id>/<action>": "acknowledge",
    "bundles/<message_id>": str(BUNDLE),
    "r/<token>": token(BUNDLE),
    "r/<token>/<alert_id>": str(LIVE_ALERT),
    "on-call/out-of-office/<entry_id>": "1",
    "groups/<group_id>": "10",
    "groups/<group_id>/members/<action>": "up",
    "groups/<group_id>/out-of-office/<entry_id>": "1",
    "groups/<group_id>/contacts/<method_id>": "200009",
    "groups/<group_id>/contacts/<method_id>/<action>": "test",
    "heartbeats/<integration_id>": str(SILENT_HEARTBEAT),
    "profile/contact-methods/<method_id>": "100001",
    "profile/contact-methods/chat/<member_id>": "1",
    "profile/contact-methods/<method_id>/<action>": "test",
    "profile/api-keys/<key_id>": "1",
    "calendar/<token>": "benchmark",
    "api/v1/provider-callbacks/twilio/<message_id>": str(BUNDLE),
    "api/v1/responses/twilio/voice/<token>": "any",
    "api/v1/groups/<group>": "9",
    "api/v1/groups/<group>/contacts/<pk>": "200009",
}
# The pages of integrations of other types than heartbeat: those that only these have, and those that differ.
_INTEGRATION: Final = "admin/integrations/inboundintegration/<object_id>"
_OF_EVENTS: Final = {
    _INTEGRATION: str(API_INTEGRATION),
    f"{_INTEGRATION}/events/<event_id>": str(EVENTS),
    "api/v1/integrations/<pk>": str(API_INTEGRATION),
    "api/v1/integrations/<pk>/events/<event>": str(EVENTS),
    "heartbeats/<integration_id>": str(API_INTEGRATION),
}
_ONLY_OF_EVENTS: Final = (
    f"{_INTEGRATION}/mapping/",
    f"{_INTEGRATION}/events/<event_id>/",
    f"{_INTEGRATION}/events/<event_id>/raw/",
    f"{_INTEGRATION}/events/<event_id>/replay/",
    "api/v1/integrations/<pk>/events/<event>/",
    "api/v1/integrations/<pk>/events/<event>/replay/",
)
_ALSO_OF_EVENTS: Final = (
    f"{_INTEGRATION}/change/",
    f"{_INTEGRATION}/delete/",
    "api/v1/integrations/<pk>/",
    "api/v1/integrations/<pk>/events/",
    "heartbeats/<integration_id>/",
    "heartbeats/<integration_id>/who-would-be-notified/",
)
_PING: Final = "a ping, which the benchmark `pings` measures"
_POST_ALERT: Final = "[Pp][Oo][Ss][Tt][Aa][Ll][Ee][Rr][Tt]"
_EVENT: Final = "an event, which the benchmark `events` measures"
_EXPORT: Final = "a file of all rows, written page by page"
_NO_FORM: Final = "Configuration has no such form"
LEFT_OUT: Final = {
    **{f"{_POST_ALERT}/<token>{more}": _EVENT for more in ("/?", "/<source>")},
    **{f"chat/<token>{more}": _EVENT for more in ("", "/")},
    "Heartbeat/<token>": _PING,
    "Heartbeat/<token>/": _PING,
    "heartbeat/<token>": _PING,
    "heartbeat/<token>/": _PING,
    "api/v1/alerts/export/": _EXPORT,
    "audit-log/csv/": _EXPORT,
    "admin/<url>": "catches what is not found",
    "admin/<app_label>/": "catches the names of apps, which are no sections",
    "admin/jsi18n/": "Django's catalogue of translations, which no page asks for",
    "release/": "exists only after a restore",
    **{f"admin/{name}/add/": _NO_FORM for name in ("escalation/storedmail", "integrations/inboundevent")},
    "admin/accounts/organization/add/": _NO_FORM,
    **{
        f"admin/{name}/<object_id>/delete/": _NO_FORM
        for name in ("accounts/organization", "accounts/user", "escalation/storedmail", "integrations/inboundevent")
    },
}
# Pages at their slowest: searches, filters, and pages far back.
QUERIES: Final = {
    "alerts/": ("status=closed", "q=backup", "before=500", "heartbeats=1900", "group=7&priority=high"),
    "heartbeats/": ("heartbeats=1900",),
    "alerts/list/": ("status=open", "q=nothing-like-it", "status=open&q=backup"),
    "alerts/new/recipients/": ("q=person",),
    "heartbeats/panel/": ("heartbeats=2", "heartbeats=1900"),
    "heartbeats/coverage-gaps/": ("page=2",),
    "audit-log/": ("actor=2", "object_type=integration", "older=500"),
    "admin/integrations/inboundintegration/": (
        *("p=2", "p=1900", "o=-1", "type=heartbeat", "q=backup+host-09"),
        "type=api",
        *(f"status={status}" for status in ("enabled", "disabled", "healthy", "missed", "waiting", "maintenance")),
    ),
    "api/v1/alerts/": (
        "page_size=200",
        "status=closed",
        "search=backup",
        "search=nothing-like-it",
        "group=7",
        "owner=8",
    ),
    "api/v1/integrations/": ("page_size=200", "state=missed", "state=maintenance", "search=backup", "search=none-such"),
    "api/v1/audit-log/": ("page_size=200", "actor=2", "object_type=integration"),
}
# One group of addresses each, by how its members begin; the first that fits.
GROUPS: Final = {
    "forms of Configuration": r"admin/\w+/\w+/.+",
    "lists of Configuration": r"admin/",
    "documents and probes": r"api/v1/(schema|docs)/|calendar/|healthz|readyz|metrics|service-worker",
    "management API": r"api/",
    "console": r"",
}


@dataclass(frozen=True, slots=True)
class Address:
    """One address to measure: the path with its query, and the template of the URL resolver."""

    path: str
    template: str

    @property
    def group(self) -> str:
        """Return the name of the group of addresses in which its row is."""
        return next(name for name, pattern in GROUPS.items() if re.match(pattern, self.template))

    @property
    def client(self) -> str:
        """Return who asks: `api`, with an API key, or `page`, signed in."""
        return "api" if self.template.startswith("api/") else "page"


def addresses() -> list[Address]:
    """Return an example of each address of the URL resolver that is not in LEFT_OUT, with the queries of QUERIES.

    Raises SystemExit if there is no example for a parameter, or if a name in a table above exists no more.
    """
    templates = list(dict.fromkeys(_templates(get_resolver())))
    if gone := {*LEFT_OUT, *QUERIES, *_ONLY_OF_EVENTS, *_ALSO_OF_EVENTS} - set(templates):
        raise SystemExit(f"benchmarks/addresses.py has addresses that do not exist: {', '.join(sorted(gone))}")
    found, examples = [], _objects() | EXAMPLES
    for template in templates:
        if template in LEFT_OUT:
            continue
        if template in _ONLY_OF_EVENTS:
            found.append(Address(f"/{_filled_in(template, _OF_EVENTS)}", template))
            continue
        if template in _ALSO_OF_EVENTS:
            found.append(Address(f"/{_filled_in(template, _OF_EVENTS)}", template))
        path = f"/{_filled_in(template, examples)}"
        found.append(Address(path, template))
        found += [Address(f"{path}?{query}", template) for query in (*QUERIES.get(template, ()), *_searches(template))]
    return found


def _templates(resolver: URLResolver, start: str = "") -> Iterator[str]:
    """Yield the addresses as `alerts/<alert_id>/`."""
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            yield from _templates(pattern, start + str(pattern.pattern))
        else:
            yield _without_syntax(start + str(pattern.pattern))


def _without_syntax(pattern: str) -> str:
    """Return the pattern of an address with `<name>` for each parameter."""
    pattern = re.sub(r"\(\?P(<\w+>)[^)]*\)", r"\1", re.sub(r"<\w+:", "<", pattern))
    return pattern.replace("^", "").replace("$", "")


def _filled_in(template: str, examples: Mapping[str, str]) -> str:
    """Return the template with examples for its parameters."""
    path, seen = "", ""
    for part in re.split(r"(<\w+>)", template):
        seen += part
        if not part.startswith("<"):
            path += part
        elif seen in examples:
            path += examples[seen]
        else:
            raise SystemExit(f"benchmarks/addresses.py has no example for {seen}")
    return path


def _objects() -> dict[str, str]:
    """Return the examples of the pages of Configuration and of the resources of the API, from their registries."""
    models = {f"{_changelist(page)}<object_id>": model for model, page in _pages().items()}
    models |= {f"api/v1/{_without_syntax(prefix)}/<pk>": view.queryset.model for prefix, view, _ in router.registry}
    return {start: str(OBJECTS.get(_label(model)) or _first(model)) for start, model in models.items()}


def _first(model: Any) -> int | None:
    """Return the id of the model's first row."""
    pk: int | None = model.objects.order_by("pk").values_list("pk", flat=True).first()
    return pk


def _label(model: Any) -> str:
    return str(model._meta.label_lower)  # noqa: SLF001 - Django's documented Meta API


def _pages() -> dict[Any, Any]:
    """Return the pages of Configuration by model."""
    return admin.site._registry  # noqa: SLF001 - it has no other list


def _changelist(page: Any) -> str:
    return f"admin/{page.opts.app_label}/{page.opts.model_name}/"


def _searches(template: str) -> list[str]:
    """Return a search that finds nothing, and so reads everything, for a list of Configuration with a search."""
    has_search = any(_changelist(page) == template and page.search_fields for page in _pages().values())
    return [urlencode({"q": "nothing-like-it"})] if has_search else []
