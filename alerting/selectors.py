"""Questions about alerts: who sees which, and who may respond."""

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from accounts.entitlements import Entitlement
from accounts.models import GroupMember, User
from accounts.permissions import may
from alerting.models import Alert, AlertRecipient, TimelineEntry

_Kind = TimelineEntry.Kind
_ACKNOWLEDGED_NO_MORE = (_Kind.ESCALATED, _Kind.UNACKNOWLEDGED, _Kind.GIVEN_BACK, _Kind.REOPENED, _Kind.REASSIGNED)
_RESPONDING = (Entitlement.ALERTS_VIEW_GROUPS, Entitlement.ALERTS_VIEW_OWN, Entitlement.ALERTS_SEND)


def visible_alerts(user: User) -> QuerySet[Alert]:
    """Return the alerts that `user` may see: the organization's, their groups', or their own, by entitlement.

    Their own are those they own, are named in, or were told about.
    """
    alerts = Alert.objects.filter(organization_id=user.organization_id)
    if may(user, Entitlement.ALERTS_VIEW_ALL):
        return alerts
    shown = Q(pk__in=[])
    of_this = AlertRecipient.objects.filter(alert=OuterRef("pk"))
    if may(user, Entitlement.ALERTS_VIEW_GROUPS):
        own_groups = GroupMember.objects.filter(user=user).values("group_id")
        shown |= Q(Exists(of_this.filter(group_id__in=own_groups)))
    if may(user, Entitlement.ALERTS_VIEW_OWN):
        shown |= Q(owner=user) | Q(Exists(of_this.filter(user=user)))
    return alerts.filter(shown)


def respondable_alerts(user: User) -> QuerySet[Alert]:
    """Return the alerts that `user` may act on: sees them, is no stakeholder, and does more than look on."""
    alerts = visible_alerts(user)
    if not user.is_active or user.kind == User.Kind.STAKEHOLDER:
        return alerts.none()
    if any(may(user, entitlement) for entitlement in _RESPONDING):
        return alerts
    return alerts.filter(Exists(AlertRecipient.objects.filter(alert=OuterRef("pk"), user=user)))


def has_acknowledged(user: User, alert: Alert) -> bool:
    """Answer whether the user's acknowledgement counts: nothing has taken it away since."""
    taken_away = alert.timeline.filter(kind__in=_ACKNOWLEDGED_NO_MORE).order_by("-id").values("id")[:1]
    theirs = alert.timeline.filter(kind=TimelineEntry.Kind.ACKNOWLEDGED, actor=user)
    return theirs.filter(id__gt=Coalesce(Subquery(taken_away), 0)).exists()


def may_respond(user: User, alert: Alert) -> bool:
    """Answer whether `user` may act on the alert."""
    return respondable_alerts(user).filter(pk=alert.pk).exists()
