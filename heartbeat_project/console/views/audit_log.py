"""The audit log: who changed what and when, as a page and as a CSV file."""

import csv
import json
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.entitlements import Entitlement
from accounts.models.audit import AuditEntry
from accounts.models.users import User
from accounts.permissions import may
from accounts.selectors import AuditFilter, audit_entries
from accounts.services.audit import record_audit
from heartbeat_project.console.audit_texts import differences
from heartbeat_project.console.forms.audit_log import AuditLogForm
from heartbeat_project.console.views.alerts import signed_in

PAGE_SIZE: Final = 50
MAX_CSV_ROWS: Final = 10_000  # in one file, which is made in memory
CSV_COLUMNS: Final = (
    *("id", "at", "actor", "actor_name", "via", "address", "object_type", "object_id", "object_name", "action"),
    *("before", "after", "changes"),
)
# What people read instead of the codes of `via`.
VIA_TEXTS: Final = {
    "page": "on a page",
    "rest": "over the API",
    "key": "with an API key",
    "command": "by a command",
    "worker": "by Heartbeat itself",
    "sql": "directly in the database",
}
# Spreadsheets run a text with one of these at its beginning as a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


@login_required
@never_cache
@require_safe
def audit_log(request: HttpRequest) -> HttpResponse:
    """Show a page of the entries that match the filters, newest first."""
    reader, form = _read(request)
    if not form.is_valid():
        return render(request, "console/audit_log.html", {"form": form}, status=400)
    entries = audit_entries(reader, form.filters())
    if older := form.cleaned_data["older"]:
        entries = _older_than(entries, reader, older)
    page = list(entries[: PAGE_SIZE + 1])
    has_older = len(page) > PAGE_SIZE
    page = page[:PAGE_SIZE]
    query = {name: value for name, value in request.GET.items() if name in form.fields and name != "older" and value}
    context = {
        "form": form,
        "rows": [
            (entry, VIA_TEXTS.get(entry.via, f"by {entry.via}"), changes)
            for entry, changes in zip(page, differences(page, reader=reader), strict=True)
        ],
        "query": urlencode(query),
        "is_first": not older,
        "older": page[-1].pk if has_older else None,
        "one_object": page[0].object_name if page and form.cleaned_data["object_id"] else "",
    }
    return render(request, "console/audit_log.html", context)


@login_required
@never_cache
@require_safe
def audit_log_csv(request: HttpRequest) -> HttpResponse:
    """Return the entries that match the filters as a CSV file; that somebody took it is an entry, too."""
    reader, form = _read(request)
    if not form.is_valid():
        return render(request, "console/audit_log.html", {"form": form}, status=400)
    filters = form.filters()
    entries = list(audit_entries(reader, filters)[: MAX_CSV_ROWS + 1])
    if len(entries) > MAX_CSV_ROWS:
        form.add_error(None, f"More than {MAX_CSV_ROWS:,} entries match. Choose fewer days for a file.")
        return render(request, "console/audit_log.html", {"form": form}, status=400)
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="audit-log.csv"'
    writer = csv.writer(response)
    writer.writerow(CSV_COLUMNS)
    for entry, changes in zip(entries, differences(entries, reader=reader), strict=True):
        writer.writerow([_cell(value) for value in (*_values(entry), "; ".join(map(str, changes)))])
    record_audit(
        organization=reader.organization_id,
        action="exported",
        object_type="audit_log",
        after={"entries": len(entries), "filters": _as_json(filters)},
    )
    return response


def _read(request: HttpRequest) -> tuple[User, AuditLogForm]:
    """Return the user and the form. Raises PermissionDenied."""
    reader = signed_in(request)
    if not may(reader, Entitlement.AUDIT_VIEW):
        raise PermissionDenied
    return reader, AuditLogForm(request.GET, reader=reader)


def _older_than(entries: QuerySet[AuditEntry], reader: User, entry_id: int) -> QuerySet[AuditEntry]:
    """Return the entries below this one; none if there is no such entry."""
    last = audit_entries(reader, AuditFilter()).filter(pk=entry_id).first()
    if last is None:
        return entries.none()
    return entries.filter(at__lte=last.at).exclude(at=last.at, pk__gte=last.pk)


def _values(entry: AuditEntry) -> list[Any]:
    before, after = (
        None if part is None else json.dumps(part, ensure_ascii=False) for part in (entry.before, entry.after)
    )
    return [
        *(entry.pk, entry.at.isoformat(), entry.actor_id, entry.actor_name, entry.via, entry.address),
        *(entry.object_type, entry.object_id, entry.object_name, entry.action, before, after),
    ]


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _as_json(filters: AuditFilter) -> dict[str, Any]:
    """Return the filters that are set."""
    values = {name: getattr(filters, name) for name in ("actor", "object_type", "object_id", "after", "before")}
    return {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items() if value
    }
