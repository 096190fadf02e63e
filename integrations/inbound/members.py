"""Members of alerts, which are problems with a state of their own: added, closed and listed for many events at once."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db.models import Count, F

from alerting.models.alerts import Alert, AlertMember
from integrations.inbound.event import MappedEvent

_ID_LENGTH, _SUBJECT_LENGTH = 200, 300


class Members:
    """Changes members of the alerts of one integration."""

    def __init__(self, integration_id: int, *, now: datetime) -> None:
        self._integration_id, self._now = integration_id, now

    def add(self, alert: Alert, keyed_events: Sequence[tuple[str, MappedEvent]], *, with_own: bool) -> None:
        """Make events with these keys, which all differ, open members of an alert.

        `with_own` makes the alert itself its first member, if it has none with a key. Two keys with one source id, as
        of two sources, are two members.
        """
        rows = []
        if with_own and alert.key_hash and not alert.members.filter(key_hash__gt="").exists():
            rows.append(self._row(alert, alert.source_id, alert.subject, key_hash=alert.key_hash, at=alert.opened_at))
        for key, event in keyed_events:
            rows.append(self._row(alert, event.source_id, event.subject, key_hash=key, at=self._now))
        ids = alert.members.filter(source_id__in=[row.source_id for row in rows]).exclude(key_hash="")
        keys_by_id = dict(ids.values_list("source_id", "key_hash"))
        for row in rows:
            if keys_by_id.setdefault(row.source_id, row.key_hash) != row.key_hash:
                row.source_id = f"{row.source_id[:180]} ({row.key_hash[:8]})"
        AlertMember.objects.bulk_create(
            rows,
            update_conflicts=True,
            unique_fields=["alert", "source_id"],
            update_fields=["key_hash", "subject", "is_open", "opened_at", "closed_at", "last_event_at"],
        )

    def _row(self, alert: Alert, source_id: str, subject: str, *, key_hash: str, at: datetime) -> AlertMember:
        return AlertMember(
            alert=alert,
            integration_id=self._integration_id,
            key_hash=key_hash,
            source_id=source_id[:_ID_LENGTH],
            subject=subject[:_SUBJECT_LENGTH],
            opened_at=at,
            last_event_at=self._now,
        )

    def reopen(self, member_ids: Sequence[int]) -> None:
        """Count an event of each of these members, which are open from now on."""
        if member_ids:
            AlertMember.objects.filter(pk__in=member_ids).update(
                is_open=True, closed_at=None, event_count=F("event_count") + 1, last_event_at=self._now
            )

    def close(self, member_ids: Sequence[int], *, of: Iterable[int]) -> Counter[int]:
        """Close these members; return how many are open then in each of the alerts `of`."""
        AlertMember.objects.filter(pk__in=member_ids).update(
            is_open=False, closed_at=self._now, last_event_at=self._now
        )
        open_members = AlertMember.objects.filter(alert__in=of, is_open=True).order_by()
        return Counter(dict(open_members.values_list("alert").annotate(Count("pk"))))

    def list(self, listed: Iterable[tuple[int, MappedEvent]]) -> None:
        """Store the members that senders listed in events of these alerts, with their states."""
        rows = {}
        for alert_id, event in listed:
            for member in event.members:
                rows[alert_id, member.key[:_ID_LENGTH]] = AlertMember(
                    alert_id=alert_id,
                    integration_id=self._integration_id,
                    source_id=member.key[:_ID_LENGTH],
                    subject=member.subject[:_SUBJECT_LENGTH],
                    is_open=member.is_open,
                    opened_at=self._now,
                    closed_at=None if member.is_open else self._now,
                    last_event_at=self._now,
                )
        if rows:
            AlertMember.objects.bulk_create(
                list(rows.values()),
                update_conflicts=True,
                unique_fields=["alert", "source_id"],
                update_fields=["subject", "is_open", "closed_at", "last_event_at"],
            )
