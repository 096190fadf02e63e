"""Queries about users, groups and contact methods, and the audit log."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Exists, ManyToManyRel, OuterRef, Q, QuerySet, Value

from accounts.entitlements import BuiltinRole, Entitlement
from accounts.models.audit import AuditEntry
from accounts.models.contact_methods import ContactMethod
from accounts.models.groups import Group, GroupMember, GroupRole
from accounts.models.organizations import Organization
from accounts.models.users import User
from accounts.permissions import may
from heartbeat_project.kernel.prepared import fetch_prepared
from heartbeat_project.kernel.sql import array, statement


def visible_groups(user: User) -> QuerySet[Group]:
    """Return the groups that the user may see: all of the organization, their own, or none."""
    groups = Group.objects.filter(organization_id=user.organization_id)
    if may(user, Entitlement.GROUPS_VIEW_ALL) or may(user, Entitlement.GROUPS_UPDATE_ALL):
        return groups
    if may(user, Entitlement.GROUPS_VIEW_OWN) or may(user, Entitlement.GROUPS_UPDATE_OWN):
        # A subquery instead of a join, which would return a group twice to a user with two roles in it.
        return groups.filter(pk__in=GroupMember.objects.filter(user=user).values("group"))
    return groups.none()


def nameable_groups(user: User) -> QuerySet[Group]:
    """Return the groups whose names the user may see, each with `is_open`: whether they may see the group itself.

    Users who may send alerts see the names of all groups of the organization, because they choose recipients from them.
    """
    visible = visible_groups(user)
    if not may(user, Entitlement.ALERTS_SEND):
        return visible.annotate(is_open=Value(value=True))
    groups = Group.objects.filter(organization_id=user.organization_id)
    return groups.annotate(is_open=Exists(visible.filter(pk=OuterRef("pk"))))


def may_update_group(user: User, group: Group) -> bool:
    """Return whether the user may change the group: all groups of the organization, or those that they manage."""
    if user.organization_id != group.organization_id:
        return False
    if may(user, Entitlement.GROUPS_UPDATE_ALL):
        return True
    return may(user, Entitlement.GROUPS_UPDATE_OWN) and group.members.filter(user=user, role=GroupRole.MANAGER).exists()


def nested_groups(group_ids: Iterable[int]) -> dict[int, list[int]]:
    """Return the ids of each group and all groups within it, at any depth, in one query.

    Each list begins with the group itself, goes depth first in the order of positions, and holds no id twice.
    """
    roots = set(group_ids)
    children: dict[int, list[int]] = defaultdict(list)
    for group_id, child_id in fetch_prepared(statement("accounts", "nested_groups"), {"ids": sorted(roots)}):
        children[group_id].append(child_id)
    nested = {}
    for root in roots:
        reached: dict[int, None] = {}
        pending = [root]
        while pending:
            group_id = pending.pop()
            if group_id not in reached:  # a group may lie within two others
                reached[group_id] = None
                pending += reversed(children[group_id])
        nested[root] = list(reached)
    return nested


def visible_contact_methods(user: User) -> QuerySet[ContactMethod]:
    """Return the user's own contact methods, or all of the organization if the user administers security."""
    if may(user, Entitlement.SECURITY):
        return ContactMethod.objects.filter(user__organization_id=user.organization_id)
    return ContactMethod.objects.filter(user=user)


def failing_methods(organization: Organization) -> QuerySet[ContactMethod]:
    """Return the failing contact methods of active users and of groups; those that fail for longest come first."""
    return (
        ContactMethod.objects.filter(
            Q(user__organization=organization, user__is_active=True) | Q(group__organization=organization),
            failed_at__isnull=False,  # implied by the next line; makes the query match the partial index
            failing_since__isnull=False,
        )
        .select_related("user", "group")
        .order_by("failing_since", "id")
    )


def uses_of(group: Group, *, limit: int = 5) -> list[str]:
    """Return labels of the objects whose configuration refers to the group, at most `limit` of each kind.

    The apps above refer to groups in many-to-many fields, and this app cannot import them. So their models are found
    through the relations that Django knows. Members and history (alerts sent to the group) do not count.
    """
    labels = []
    for field in Group._meta.get_fields(include_hidden=True):  # noqa: SLF001 - Django's documented API
        if isinstance(field, ManyToManyRel):
            model = field.related_model
            rows = model._default_manager.filter(**{field.field.name: group})[:limit]  # noqa: SLF001 - the same
            labels += [f"{model._meta.verbose_name} “{row}”" for row in rows]  # noqa: SLF001 - the same
    return labels


def opted_out(integration_ids: Iterable[int | None]) -> dict[int | None, frozenset[int]]:
    """Return by integration the ids of the users who opted out of it, in one query.

    An integration that nobody opted out of is not in the result.
    """
    users_by_integration: dict[int | None, set[int]] = defaultdict(set)
    with connection.cursor() as cursor:
        ids = array(pk for pk in integration_ids if pk is not None)
        cursor.execute(statement("accounts", "opted_out"), {"ids": ids})
        for integration_id, user_id in cursor.fetchall():
            users_by_integration[integration_id].add(user_id)
    return {integration_id: frozenset(users) for integration_id, users in users_by_integration.items()}


def fallback_recipients(organization_ids: Iterable[int]) -> dict[int, list[User]]:
    """Return by organization its active Owner and App Admins, whom the last resort notifies."""
    users_by_organization: dict[int, list[User]] = defaultdict(list)
    rows = User.objects.filter(
        Q(is_owner=True) | Q(roles__builtin__in=[BuiltinRole.OWNER, BuiltinRole.APP_ADMIN], kind=User.Kind.STANDARD),
        organization_id__in=set(organization_ids),
        is_active=True,
    )
    for user in rows.distinct().order_by("-is_owner", "id"):
        users_by_organization[user.organization_id].append(user)
    return users_by_organization


def managers_of(group_ids: Iterable[int]) -> dict[int, list[User]]:
    """Return by group its active Managers, in the order of the group."""
    managers_by_group: dict[int, list[User]] = defaultdict(list)
    rows = GroupMember.objects.filter(group_id__in=set(group_ids), role=GroupRole.MANAGER, user__is_active=True)
    for row in rows.select_related("user").order_by("position", "id"):
        managers_by_group[row.group_id].append(row.user)
    return managers_by_group


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditFilter:
    """Which entries of the audit log: ids of the actor and the object, and times (`after` included, `before` not)."""

    actor: int | None = None
    object_type: str = ""
    object_id: int | None = None
    after: datetime | None = None
    before: datetime | None = None


def audit_entries(user: User, chosen: AuditFilter) -> QuerySet[AuditEntry]:
    """Return the entries of the user's organization that match, newest first. Each filter is served by an index."""
    columns = {
        "actor_id": chosen.actor,
        "object_type": chosen.object_type or None,
        "object_id": chosen.object_id,
        "at__gte": chosen.after,
        "at__lt": chosen.before,
    }
    conditions = {column: value for column, value in columns.items() if value is not None}
    return AuditEntry.objects.filter(organization_id=user.organization_id, **conditions)
