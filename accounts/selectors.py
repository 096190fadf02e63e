"""Questions about people: which groups a user sees, and whom."""

from collections import defaultdict
from collections.abc import Iterable

from django.db import connection
from django.db.models import ManyToManyRel, Q, QuerySet

from accounts.entitlements import Entitlement
from accounts.models import ContactMethod, Group, GroupMember, GroupRole, Organization, User
from accounts.permissions import may
from heartbeat_project.kernel.sql import array, statement


def visible_groups(user: User) -> QuerySet[Group]:
    """Return the groups that the user may see: all of the organization, their own, or none."""
    groups = Group.objects.filter(organization_id=user.organization_id)
    if may(user, Entitlement.GROUPS_VIEW_ALL) or may(user, Entitlement.GROUPS_UPDATE_ALL):
        return groups
    if may(user, Entitlement.GROUPS_VIEW_OWN) or may(user, Entitlement.GROUPS_UPDATE_OWN):
        # Not a join: somebody with two roles in a group would see it twice.
        return groups.filter(pk__in=GroupMember.objects.filter(user=user).values("group"))
    return groups.none()


def may_update_group(user: User, group: Group) -> bool:
    """Answer whether the user may change the group: any of the organization, or one whose Manager they are."""
    if user.organization_id != group.organization_id:
        return False
    if may(user, Entitlement.GROUPS_UPDATE_ALL):
        return True
    return may(user, Entitlement.GROUPS_UPDATE_OWN) and group.members.filter(user=user, role=GroupRole.MANAGER).exists()


def nested_groups(group_ids: Iterable[int]) -> dict[int, list[int]]:
    """Return for each group itself and, in order and once each, the groups within it, however deep; in one query."""
    roots = set(group_ids)
    children: dict[int, list[int]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(statement("accounts", "nested_groups"), {"ids": sorted(roots)})
        for group_id, child_id in cursor.fetchall():
            children[group_id].append(child_id)
    found = {}
    for root in roots:
        reached: dict[int, None] = {}
        pending = [root]
        while pending:
            group_id = pending.pop()
            if group_id not in reached:
                reached[group_id] = None
                pending += reversed(children[group_id])
        found[root] = list(reached)
    return found


def visible_contact_methods(user: User) -> QuerySet[ContactMethod]:
    """Return the user's own contact methods, or all of the organization for who administers security."""
    if may(user, Entitlement.SECURITY):
        return ContactMethod.objects.filter(user__organization_id=user.organization_id)
    return ContactMethod.objects.filter(user=user)


def failing_methods(organization: Organization) -> QuerySet[ContactMethod]:
    """Return the contact methods of active people and of groups whose address is refused, longest first."""
    return (
        ContactMethod.objects.filter(
            Q(user__organization=organization, user__is_active=True) | Q(group__organization=organization),
            failed_at__isnull=False,  # for its index
            failing_since__isnull=False,
        )
        .select_related("user", "group")
        .order_by("failing_since", "id")
    )


def slack_member(slack_id: str, *, organization_id: int) -> User | None:
    """Return the person of this organization whose Slack member ID it is, and never one of another organization."""
    return User.objects.filter(organization_id=organization_id, slack_id=slack_id).exclude(slack_id="").first()


def uses_of(group: Group, *, limit: int = 5) -> list[str]:
    """Return what names the group in its configuration, at most `limit` of each kind, as people call it.

    The apps above name groups in many-to-many fields, and this app cannot import them: so their models are asked
    through the relations that Django knows. Members and history (alerts sent to the group) are no use of it.
    """
    fields = Group._meta.get_fields(include_hidden=True)  # noqa: SLF001 - Django's documented API
    relations = [field for field in fields if isinstance(field, ManyToManyRel)]
    return [
        f"{kind} “{row}”"
        for relation in relations
        for kind in [relation.related_model._meta.verbose_name]  # noqa: SLF001
        for row in relation.related_model._default_manager.filter(  # noqa: SLF001
            **{relation.field.name: group}
        )[:limit]
    ]


def opted_out(integration_ids: Iterable[int | None]) -> dict[int | None, frozenset[int]]:
    """Return who does not want to be told about each of these integrations, in one query; for most that is nobody."""
    found: dict[int | None, set[int]] = defaultdict(set)
    with connection.cursor() as cursor:
        ids = array(pk for pk in integration_ids if pk is not None)
        cursor.execute(statement("accounts", "opted_out"), {"ids": ids})
        for integration_id, user_id in cursor.fetchall():
            found[integration_id].add(user_id)
    return {integration_id: frozenset(users) for integration_id, users in found.items()}
