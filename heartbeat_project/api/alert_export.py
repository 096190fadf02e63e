"""`alerts/export/`: all alerts that match the filters of the list, as one CSV file or one JSON list.

It is written page by page while it is sent, so that neither the number of alerts nor a slow client costs memory. Each
page is one short statement over the primary key, and takes a turn in the request queue; while a page is being sent, the
export holds no turn, no connection to the database and no transaction.
"""

import csv
import io
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import InterfaceError, OperationalError
from django.db.models import F, Max, Min, Q
from django.http import StreamingHttpResponse
from rest_framework import serializers
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request

from accounts.models.users import User
from accounts.request_queue import QUEUE, WAIT_SECONDS
from alerting.api.alerts import AlertFilters, AlertSerializer
from alerting.models.alerts import Alert
from alerting.selectors import opened_by, visible_alerts
from heartbeat_project.kernel.database import release_connection
from heartbeat_project.kernel.errors import NotNow
from heartbeat_project.kernel.fair_queue import Full

COLUMNS: Final = (
    *("id", "created_by", "priority", "integration", "escalation_policy", "response_play"),
    *("subject", "source", "source_name", "source_id", "status", "owner"),
    *("opened_at", "assigned_at", "closed_at", "minutes_to_assign", "minutes_to_resolve", "close_reason"),
)
# Ids that one page looks at, of all organizations; the alerts that match are written. So a page costs the same whatever
# the filters are. A page of so many matches would read the whole table if they are rare.
IDS_OF_A_PAGE: Final = 1_000
# Exports of one organization that a web process writes at once; each holds a thread and a page.
MAX_OF_ONE: Final = 4
RETRY_AFTER_SECONDS: Final = 30
# Seconds to wait before each further try, if the database or the queue has no room for a page.
PAUSES: Final = (1.0, 4.0)
# With one of these in front, a spreadsheet takes a text for a formula (OWASP, CSV Injection); the last four are the
# full-width forms of the first.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_TYPES: Final = {"csv": "text/csv; charset=utf-8; header=present", "json": "application/json"}
_running: Final[Counter[int]] = Counter()  # exports by organization; only the event loop changes it


class ExportQuery(AlertFilters):
    """The filters and the format of an export."""

    format = serializers.ChoiceField(choices=list(_TYPES), default="csv")


class ExportedAlertSerializer(AlertSerializer):
    """One alert of an export, for the OpenAPI document alone."""

    escalation_policy = serializers.IntegerField(allow_null=True)
    response_play = serializers.IntegerField(allow_null=True)

    class Meta(AlertSerializer.Meta):
        fields = list(COLUMNS)
        read_only_fields = fields


class FormatParameter(DefaultContentNegotiation):
    """Let the parameter `format` choose the format of an export, whatever `Accept` says; errors are always JSON."""

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:  # noqa: ARG002 - DRF's
        """Return the first renderer."""
        return renderers[0], renderers[0].media_type


class TooManyExports(NotNow):
    """The organization writes as many exports as a web process writes for one at once."""

    def __init__(self) -> None:
        super().__init__(
            f"Your organization has {MAX_OF_ONE} exports under way. Try again when one of them is complete.",
            retry_after=RETRY_AFTER_SECONDS,
        )


class AlertExport:
    """The alerts that a user may see and that match a condition, newest first, in parts of a CSV file or JSON list.

    Alerts that open after the first part are not included; no alert is written twice or left out because it changes
    meanwhile.
    """

    def __init__(self, user: User, condition: Q, *, file_format: str) -> None:
        self.organization_id = user.organization_id
        self.file_format = file_format
        self._alerts = visible_alerts(user).filter(condition)
        self._below: int | None = None  # ids that were not looked at yet; None before the first page
        self._first_id = 0
        self._has_begun = self._has_rows = self._is_complete = False

    def parts(self) -> Iterator[bytes]:
        """Yield the parts, for a server without an event loop."""
        while not self._is_complete:
            yield self._next_part()

    async def sent_parts(self) -> AsyncIterator[bytes]:
        """Yield the parts; each is read once the client has taken the one before."""
        _running[self.organization_id] += 1
        try:
            while not self._is_complete:
                # Empty if no alert of the page matches; then the event loop still has its chance to end the export.
                if part := await sync_to_async(self._next_part)():
                    yield part
        finally:
            _running[self.organization_id] -= 1

    def _next_part(self) -> bytes:
        """Return the next part, which may be empty. Raises OperationalError if the database stays away."""
        page = self._next_page()
        return (self._as_csv(page) if self.file_format == "csv" else self._as_json(page)).encode()

    def _next_page(self) -> list[dict[str, Any]]:
        """Return those of the next IDS_OF_A_PAGE alerts that match; after the last of them the export is complete."""
        for pause in PAUSES:
            try:
                return self._read_in_turn()
            except (Full, OperationalError, InterfaceError):
                time.sleep(pause)
        return self._read_in_turn()

    def _read_in_turn(self) -> list[dict[str, Any]]:
        release_connection()  # what waits for its turn holds no connection
        with QUEUE.turn(str(self.organization_id), seconds=WAIT_SECONDS):
            try:
                return self._read()
            finally:
                release_connection()

    def _read(self) -> list[dict[str, Any]]:
        if self._below is None:
            ends = Alert.objects.aggregate(first=Min("pk"), last=Max("pk"))
            self._first_id, self._below = ends["first"] or 0, (ends["last"] or 0) + 1
        lowest = self._below - IDS_OF_A_PAGE
        alerts = self._alerts.filter(pk__gte=lowest, pk__lt=self._below).order_by("-pk")
        rules = {"policy_id": F("run__policy_id"), "play_id": F("run__play_id")}
        details = alerts.annotate(created_by_id=opened_by(), **rules).defer("short_text", "long_text", "facts")
        page = [_as_columns(alert) for alert in details]
        self._below, self._is_complete = lowest, lowest <= self._first_id
        return page

    def _as_csv(self, page: list[dict[str, Any]]) -> str:
        """Return the page as lines (RFC 4180), the first one below the names of the columns."""
        file = io.StringIO()
        writer = csv.writer(file)
        if not self._has_begun:
            writer.writerow(COLUMNS)
        self._has_begun = True
        writer.writerows([_harmless(value) for value in row.values()] for row in page)
        return file.getvalue()

    def _as_json(self, page: list[dict[str, Any]]) -> str:
        """Return the page as a part of one list."""
        begin = "" if self._has_begun else "[\n"
        separator = ",\n" if self._has_rows and page else ""
        rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in page)
        self._has_begun, self._has_rows = True, self._has_rows or bool(page)
        return f"{begin}{separator}{rows}" + ("\n]\n" if self._is_complete else "")


def export_response(export: AlertExport, request: Request, *, now: datetime) -> StreamingHttpResponse:
    """Return the response that sends the export as a file. Raises TooManyExports."""
    if _running[export.organization_id] >= MAX_OF_ONE:
        raise TooManyExports
    has_event_loop = isinstance(request._request, ASGIRequest)  # noqa: SLF001 - DRF has no public name for it
    name = f"alerts-{now:%Y-%m-%d}.{export.file_format}"
    return StreamingHttpResponse(
        export.sent_parts() if has_event_loop else export.parts(),
        content_type=_TYPES[export.file_format],
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _as_columns(alert: Any) -> dict[str, Any]:
    """Return the values of COLUMNS by name, as JSON can hold them and as the API writes them."""
    return {
        "id": alert.pk,
        "created_by": alert.created_by_id,
        "priority": alert.priority,
        "integration": alert.integration_id,
        "escalation_policy": alert.policy_id,
        "response_play": alert.play_id,
        "subject": alert.subject,
        "source": alert.source,
        "source_name": alert.source_name,
        "source_id": alert.source_id,
        "status": alert.status,
        "owner": alert.owner_id,
        "opened_at": _as_text(alert.opened_at),
        "assigned_at": _as_text(alert.assigned_at),
        "closed_at": _as_text(alert.closed_at),
        "minutes_to_assign": alert.minutes_to_assign,
        "minutes_to_resolve": alert.minutes_to_resolve,
        "close_reason": alert.close_reason,
    }


def _as_text(at: datetime | None) -> str | None:
    """Return the time in UTC as RFC 3339 text, as everywhere in the API."""
    return at.isoformat().replace("+00:00", "Z") if at else None


def _harmless(value: Any) -> Any:
    """Return the value of a cell; a text that a spreadsheet would take for a formula gets an apostrophe in front."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value
