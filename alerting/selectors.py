"""Questions about alerts: who sees which, and who may respond."""

from collections.abc import Iterable

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from accounts.entitlements import Entitlement
from accounts.models import GroupMember, Role, User
from accounts.permissions import may
from alerting.models import Alert, AlertRecipient, TimelineEntry
from alerting.states import LIVE

_Kind = TimelineEntry.Kind
_ACKNOWLEDGED_NO_MORE = (_Kind.ESCALATED, _Kind.UNACKNOWLEDGED, _Kind.GIVEN_BACK, _Kind.REOPENED, _Kind.REASSIGNED)
# Through any of these somebody who was notified of an alert sees it, and may then answer it.
_VIEWING = (Entitlement.ALERTS_VIEW_ALL, Entitlement.ALERTS_VIEW_GROUPS, Entitlement.ALERTS_VIEW_OWN)
_RESPONDING = (Entitlement.ALERTS_VIEW_GROUPS, Entitlement.ALERTS_VIEW_OWN, Entitlement.ALERTS_SEND)


def visible_alerts(user: User) -> QuerySet[Alert]:
    """Return the alerts that `user` may see: the organization's, their groups', or their own, by entitlement.

    Their own are those they own, are named in, or were notified of; whoever sees their groups' sees their own, too.
    Users who may configure integrations also see what these opened.
    """
    alerts = Alert.objects.filter(organization_id=user.organization_id)
    if may(user, Entitlement.ALERTS_VIEW_ALL):
        return alerts
    shown = _addressed_to(user)
    if may(user, Entitlement.INBOUND_INTEGRATIONS):
        shown |= Q(integration_id__isnull=False)
    return alerts.filter(shown)


def respondable_alerts(user: User) -> QuerySet[Alert]:
    """Return the alerts that `user` may act on: is no stakeholder, and does more than look on.

    An alert that somebody sees only because they configure integrations is for others to act on.
    """
    alerts = Alert.objects.filter(organization_id=user.organization_id)
    if not may(user, Entitlement.ALERTS_VIEW_ALL):
        alerts = alerts.filter(_addressed_to(user))
    if not user.is_active or user.kind == User.Kind.STAKEHOLDER:
        return alerts.none()
    if any(may(user, entitlement) for entitlement in _RESPONDING):
        return alerts
    return alerts.filter(Exists(AlertRecipient.objects.filter(alert=OuterRef("pk"), user=user)))


def _addressed_to(user: User) -> Q:
    shown = Q(pk__in=[])
    of_this = AlertRecipient.objects.filter(alert=OuterRef("pk"))
    if may(user, Entitlement.ALERTS_VIEW_GROUPS):
        own_groups = GroupMember.objects.filter(user=user).values("group_id")
        shown |= Q(Exists(of_this.filter(group_id__in=own_groups)))
    if may(user, Entitlement.ALERTS_VIEW_OWN) or may(user, Entitlement.ALERTS_VIEW_GROUPS):
        shown |= Q(owner=user) | Q(Exists(of_this.filter(user=user)))
    return shown


def live_test() -> Q:
    """Return the condition for tests that are not over, worded so that their partial index serves it."""
    return Q(is_test=True, status__in=sorted(LIVE))


def has_acknowledged(user: User, alert: Alert) -> bool:
    """Answer whether the user's acknowledgement counts: nothing has taken it away since."""
    taken_away = alert.timeline.filter(kind__in=_ACKNOWLEDGED_NO_MORE).order_by("-id").values("id")[:1]
    theirs = alert.timeline.filter(kind=TimelineEntry.Kind.ACKNOWLEDGED, actor=user)
    return theirs.filter(id__gt=Coalesce(Subquery(taken_away), 0)).exists()


def may_respond(user: User, alert: Alert) -> bool:
    """Answer whether `user` may act on the alert."""
    return respondable_alerts(user).filter(pk=alert.pk).exists()


def may_answer(user: User) -> bool:
    """Answer whether `user` may act on an alert once they were notified of it.

    Nobody else counts as reached. It does not ask about one alert, because the right to act on it comes to covers,
    members of plays and viewers only by being notified.
    """
    return user.is_active and user.kind != User.Kind.STAKEHOLDER and any(may(user, right) for right in _VIEWING)


def people_who_may_answer() -> QuerySet[User]:
    """Return everybody of whom `may_answer` is true, in all organizations: filter it, or use it as a subquery."""
    rights = Role.objects.filter(users=OuterRef("pk"), entitlements__overlap=[str(right) for right in _VIEWING])
    return User.objects.filter(Q(is_owner=True) | Q(Exists(rights)), is_active=True, kind=User.Kind.STANDARD).order_by()


def who_may_answer(user_ids: Iterable[int]) -> set[int]:
    """Return which of these people may act on an alert once they were notified of it, in one query."""
    return set(people_who_may_answer().filter(pk__in=set(user_ids)).values_list("pk", flat=True))
