"""Queries about alerts: who may see them and who may act on them."""

from collections.abc import Iterable
from datetime import datetime

from django.db.models import BooleanField, Exists, ExpressionWrapper, OuterRef, Prefetch, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from accounts.entitlements import Entitlement
from accounts.models.groups import GroupMember
from accounts.models.users import Role, User
from accounts.permissions import may
from alerting.models.alerts import Alert, AlertRecipient, TimelineEntry
from alerting.models.bridges import Bridge
from alerting.states import LIVE
from heartbeat_project.kernel.composed import Composed, one_of
from heartbeat_project.kernel.ids import read_id

_Kind = TimelineEntry.Kind
# Entries of the timeline that end all acknowledgements before them.
_ACKNOWLEDGED_NO_MORE = (_Kind.ESCALATED, _Kind.UNACKNOWLEDGED, _Kind.GIVEN_BACK, _Kind.REOPENED, _Kind.REASSIGNED)
# With any of these, users who were notified of an alert see it and may act on it.
_VIEWING = (Entitlement.ALERTS_VIEW_ALL, Entitlement.ALERTS_VIEW_GROUPS, Entitlement.ALERTS_VIEW_OWN)
# With any of these, users may act on the alerts that they see for another reason than that they configure integrations.
_RESPONDING = (Entitlement.ALERTS_VIEW_GROUPS, Entitlement.ALERTS_VIEW_OWN, Entitlement.ALERTS_SEND)


def may_see_alerts(user: User) -> bool:
    """Answer whether `user` may see any alerts at all, now or later."""
    return any(may(user, entitlement) for entitlement in (*_VIEWING, Entitlement.INBOUND_INTEGRATIONS))


def visible_alerts(user: User) -> QuerySet[Alert]:
    """Return the alerts that `user` may see: all of the organization, those of their groups, or their own.

    The entitlements decide which. Their own alerts are those that they own, are addressed by, or were notified of;
    users who see the alerts of their groups also see their own. Users who may configure integrations also see the
    alerts of integrations.
    """
    alerts = Alert.objects.filter(organization_id=user.organization_id)
    if may(user, Entitlement.ALERTS_VIEW_ALL):
        return alerts
    condition = _addressed_to(user)
    if may(user, Entitlement.INBOUND_INTEGRATIONS):
        condition |= Q(integration_id__isnull=False)
    return alerts.filter(condition)


def containing(text: str) -> Q:
    """Return the condition for alerts with this text in their subject, source name or owner's name, or as their id."""
    condition = Q(subject__icontains=text) | Q(source_name__icontains=text) | Q(owner__name__icontains=text)
    if number := read_id(text):
        condition |= Q(pk=number)
    return condition


def addressed_to_group(group_id: int) -> Q:
    """Return the condition for alerts that are addressed to this group."""
    return Q(Exists(AlertRecipient.objects.filter(alert=OuterRef("pk"), group_id=group_id)))


def opened_by() -> Subquery:
    """Return the id of the user who opened an alert by hand, to annotate alerts with; NULL for all others."""
    openings = TimelineEntry.objects.filter(alert=OuterRef("pk"), kind=_Kind.OPENED)
    return Subquery(openings.order_by("at", "id").values("actor_id")[:1])


def with_details(alerts: QuerySet[Alert]) -> QuerySet[Alert]:
    """Return the alerts with `created_by_id` and their recipients, in one more query however many they are."""
    recipients = AlertRecipient.objects.order_by("pk")
    return alerts.annotate(created_by_id=opened_by()).prefetch_related(Prefetch("recipients", queryset=recipients))


def respondable_alerts(user: User) -> QuerySet[Alert]:
    """Return the alerts that `user` may act on.

    Stakeholders and inactive users may act on none. Users who see an alert only because they configure integrations
    may not act on it, and users who may only view alerts act on those that they were notified of.
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
    """Return the condition for alerts of the user's groups and for their own, as far as their entitlements allow."""
    condition = Q(pk__in=[])  # no alert
    recipients = AlertRecipient.objects.filter(alert=OuterRef("pk"))
    if may(user, Entitlement.ALERTS_VIEW_GROUPS):
        own_groups = GroupMember.objects.filter(user=user).values("group_id")
        condition |= Q(Exists(recipients.filter(group_id__in=own_groups)))
    if may(user, Entitlement.ALERTS_VIEW_OWN) or may(user, Entitlement.ALERTS_VIEW_GROUPS):
        condition |= Q(owner=user) | Q(Exists(recipients.filter(user=user)))
    return condition


def may_join(user: User, alert: Alert) -> bool:
    """Return whether `user` may see how to join the alert's bridge: they take part in the alert or maintain bridges."""
    if may(user, Entitlement.BRIDGES):
        return True
    return Alert.objects.filter(_taking_part(user), pk=alert.pk, organization_id=user.organization_id).exists()


def with_may_join(alerts: QuerySet[Alert], user: User) -> QuerySet[Alert]:
    """Return the alerts with `user_may_join`, the answer of `may_join` for each."""
    answer = Value(value=True) if may(user, Entitlement.BRIDGES) else _taking_part(user)
    return alerts.annotate(user_may_join=ExpressionWrapper(answer, output_field=BooleanField()))


def bridges_of(user: User) -> QuerySet[Bridge]:
    """Return the organization's bridges, each with `is_open`: whether `user` may see how to join it.

    Users who maintain bridges may see this of all bridges, others while they take part in a live alert with the bridge.
    """
    bridges = Bridge.objects.filter(organization_id=user.organization_id)
    if may(user, Entitlement.BRIDGES):
        return bridges.annotate(is_open=Value(value=True))
    live = Alert.objects.filter(_taking_part(user), bridge=OuterRef("pk"), status__in=sorted(LIVE))
    return bridges.annotate(is_open=Exists(live))


def _taking_part(user: User) -> Q:
    """Return the condition for alerts that `user` owns, was notified of, or is addressed by, also through a group."""
    recipients = AlertRecipient.objects.filter(alert=OuterRef("pk"))
    own_groups = GroupMember.objects.filter(user=user).values("group_id")
    is_recipient = Q(Exists(recipients.filter(user=user))) | Q(Exists(recipients.filter(group_id__in=own_groups)))
    return Q(owner=user) | is_recipient


def live_test() -> Q:
    """Return the condition for live tests, in the form that matches the partial index one_live_test_per_integration."""
    return Q(is_test=True, status__in=sorted(LIVE))


def has_acknowledged(user: User, alert: Alert, *, since: datetime | None = None) -> bool:
    """Return whether the user has acknowledged the alert, and no entry of the timeline has ended that.

    With `since`, an older acknowledgement does not count: the user was notified again at that time.
    """
    last_end = alert.timeline.filter(kind__in=_ACKNOWLEDGED_NO_MORE).order_by("-id").values("id")[:1]
    acknowledgements = alert.timeline.filter(kind=TimelineEntry.Kind.ACKNOWLEDGED, actor=user)
    if since is not None:
        acknowledgements = acknowledgements.filter(at__gte=since)
    return acknowledgements.filter(id__gt=Coalesce(Subquery(last_end), 0)).exists()


def may_respond(user: User, alert: Alert) -> bool:
    """Return whether `user` may act on the alert."""
    return respondable_alerts(user).filter(pk=alert.pk).exists()


def why_only_look(user: User) -> str:
    """Return why a user who sees an alert may not act on it, as the end of a sentence."""
    if user.kind == User.Kind.STAKEHOLDER:
        return "you are a stakeholder."
    if any(may(user, entitlement) for entitlement in _RESPONDING):
        return "it is for groups that you are not in."
    roles = [role.name for role in user.roles.all()]
    if not roles:
        return "you have no role."
    return f"your role is {roles[0]}." if len(roles) == 1 else f"your roles are {', '.join(roles)}."


def may_answer(user: User) -> bool:
    """Return whether `user` may act on an alert once they were notified of it; nobody else counts as reached.

    The answer is the same for all alerts, because covers, members of plays and viewers get the right to act on an
    alert only by being notified of it.
    """
    return user.is_active and user.kind != User.Kind.STAKEHOLDER and any(may(user, right) for right in _VIEWING)


def people_who_may_answer() -> QuerySet[User]:
    """Return all users for whom `may_answer` is true, in all organizations. Filter it, or use it as a subquery."""
    rights = Role.objects.filter(users=OuterRef("pk"), entitlements__overlap=[str(right) for right in _VIEWING])
    return User.objects.filter(Q(is_owner=True) | Q(Exists(rights)), is_active=True, kind=User.Kind.STANDARD).order_by()


def who_may_answer(user_ids: Iterable[int]) -> set[int]:
    """Return those of the users for whom `may_answer` is true, in one query."""
    return set(_who_may_answer(users=list(set(user_ids))))


_who_may_answer = Composed(lambda: people_who_may_answer().filter(one_of("pk", "users")).values_list("pk", flat=True))
