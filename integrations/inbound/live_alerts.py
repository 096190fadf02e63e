"""The live alerts of an integration, found by the keys of its events."""

from collections.abc import Sequence
from dataclasses import dataclass

from alerting.models.alerts import Alert, AlertMember
from alerting.states import LIVE

LIVE_STATES = sorted(LIVE)


@dataclass(frozen=True, slots=True)
class LiveAlert:
    """A live alert that has a key, or an open member with it.

    `member_id` and `member_subject` are those of its member with the key; None and "" if it has none.
    """

    alert_id: int
    status: str
    priority: str
    member_id: int | None = None
    member_subject: str = ""


def live_alerts(integration_id: int, keys: Sequence[str]) -> dict[str, LiveAlert]:
    """Return the live alerts of an integration by those of the keys that have one."""
    if not keys:
        return {}
    alerts = Alert.objects.filter(integration_id=integration_id, key_hash__in=keys, status__in=LIVE_STATES)
    rows = alerts.values_list("key_hash", "pk", "status", "priority")
    live = {key: LiveAlert(pk, status, priority) for key, pk, status, priority in rows}
    if live:
        pks = [one.alert_id for one in live.values()]
        members = AlertMember.objects.filter(alert__in=pks, key_hash__in=list(live))
        for alert_id, key, pk, subject in members.values_list("alert_id", "key_hash", "pk", "subject"):
            if live[key].alert_id == alert_id:
                live[key] = LiveAlert(alert_id, live[key].status, live[key].priority, pk, subject)
    return members_with_keys(integration_id, [key for key in keys if key not in live]) | live


def members_with_keys(integration_id: int, keys: Sequence[str]) -> dict[str, LiveAlert]:
    """Return the live alerts that have open members with these keys, by key; the newest member counts."""
    if not keys:
        return {}
    members = AlertMember.objects.filter(
        integration_id=integration_id, key_hash__in=keys, is_open=True, alert__status__in=LIVE_STATES
    )
    fields = ("key_hash", "alert_id", "alert__status", "alert__priority", "pk", "subject")
    return {
        key: LiveAlert(alert_id, status, priority, pk, subject)
        for key, alert_id, status, priority, pk, subject in members.order_by("pk").values_list(*fields)
    }
