"""Create, change and delete groups with their members."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import ProtectedError, RestrictedError

from accounts.entitlements import Entitlement
from accounts.models.groups import Group, GroupMember, GroupNesting, GroupRole
from accounts.models.organizations import Organization
from accounts.models.users import User
from accounts.permissions import may
from accounts.selectors import may_update_group, nested_groups, uses_of
from accounts.services.memberships import members_will_change
from accounts.services.saving import clean_name, replace_rows, unique
from heartbeat_project.kernel.errors import DomainError, FieldError, Forbidden

MAX_MEMBERS = 500  # of one group; bounds the work of paging it


class GroupInUse(DomainError):
    """The group is used somewhere, so it cannot be deleted: alerts for it would page nobody."""

    code = "in_use"
    title = "Still in use"


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A user (id) in one group role. Without a `position`, the order of the list is used."""

    user: int
    role: str = GroupRole.PRIMARY
    position: int | None = None


def create_group(
    organization: Organization,
    *,
    actor: User | None,
    now: datetime,
    name: str,
    description: str = "",
    members: Iterable[Member] = (),
    groups: Iterable[Group] = (),
) -> Group:
    """Create a group with its members. Without an actor, no rights are checked: the product itself creates the group.

    Raises Forbidden, and FieldError at the field that is wrong.
    """
    if actor is not None and (actor.organization_id != organization.pk or not may(actor, Entitlement.GROUPS_ADD)):
        raise Forbidden("Your roles do not permit you to add groups.")
    group = Group(organization=organization, name=clean_name(name), description=description, created_at=now)
    with transaction.atomic():
        _save(group)
        _set_members(group, list(members))
        if inner := list(groups):
            _set_groups(group, inner)
    return group


def update_group(
    group: Group,
    *,
    actor: User,
    now: datetime,
    name: str | None = None,
    description: str | None = None,
    members: Iterable[Member] | None = None,
    groups: Iterable[Group] | None = None,
) -> Group:
    """Change the fields of a group that are not None; `members` and `groups` replace all former ones.

    Raises Forbidden, and FieldError at the field that is wrong.
    """
    if not may_update_group(actor, group):
        raise Forbidden("Only Managers of this group and users who may update all groups can change it.")
    with transaction.atomic():
        # Lock the group, so that two changes at once do not mix their members.
        group = Group.objects.select_for_update(no_key=True).get(pk=group.pk)
        if name is not None:
            group.name = clean_name(name)
        if description is not None:
            group.description = description
        _save(group)
        if members is not None:
            members_will_change([group.pk], now=now)
            _set_members(group, list(members))
        if groups is not None:
            _set_groups(group, list(groups))
    return group


def delete_group(group: Group, *, actor: User) -> None:
    """Delete a group that is not used anywhere. Raises Forbidden, and GroupInUse with a list of its uses."""
    if actor.organization_id != group.organization_id or not may(actor, Entitlement.GROUPS_UPDATE_ALL):
        raise Forbidden("Your roles do not permit you to delete groups.")
    with transaction.atomic():
        # A transaction that adds a reference now waits for this lock and then fails; earlier ones are found below.
        Group.objects.select_for_update().filter(pk=group.pk).first()
        if uses := uses_of(group):
            raise GroupInUse(f"This group is used by {', '.join(uses)}. Remove it there first.")
        try:
            group.delete()
        except (ProtectedError, RestrictedError) as error:
            raise GroupInUse("This group is still in use.") from error


def _save(group: Group) -> None:
    with unique("group_name_unique", field="name", message=f"There is already a group named “{group.name}”."):
        group.save()


def _set_members(group: Group, members: list[Member]) -> None:
    _check_members(group, members)
    rows = [
        GroupMember(
            group=group,
            user_id=member.user,
            role=member.role,
            position=index if member.position is None else member.position,
        )
        for index, member in enumerate(members)
    ]
    replace_rows(GroupMember.objects.filter(group=group), rows, by=("user_id", "role", "position"))


def _set_groups(group: Group, inner: list[Group]) -> None:
    if not inner and not group.nestings.exists():
        return
    # The check for circles reads all nestings, so only one change of them in the organization may run at a time.
    Organization.objects.select_for_update(no_key=True).get(pk=group.organization_id)
    for index, child in enumerate(inner):
        if child.organization_id != group.organization_id:
            raise FieldError(f"groups/{index}", "There is no such group.", code="does_not_exist")
        if group.pk in nested_groups([child.pk])[child.pk]:
            raise FieldError(
                f"groups/{index}",
                f"“{child}” is this group or contains it. A group cannot be within itself.",
                code="circle",
            )
    rows = [GroupNesting(group=group, child=child, position=index) for index, child in enumerate(dict.fromkeys(inner))]
    replace_rows(GroupNesting.objects.filter(group=group), rows, by=("child_id", "position"))


def _check_members(group: Group, members: list[Member]) -> None:
    if len(members) > MAX_MEMBERS:
        raise FieldError("members", f"A group has at most {MAX_MEMBERS} members.", code="max_length")
    user_ids = {member.user for member in members}
    users = User.objects.filter(organization_id=group.organization_id, pk__in=user_ids)
    existing_ids = set(users.values_list("pk", flat=True))
    user_roles = set()
    for index, member in enumerate(members):
        if member.user not in existing_ids:
            raise FieldError(f"members/{index}/user", "There is no such user.", code="does_not_exist")
        if member.role not in GroupRole.values:
            raise FieldError(f"members/{index}/role", f"Use one of these roles: {', '.join(GroupRole.values)}.")
        if (member.user, member.role) in user_roles:
            raise FieldError(f"members/{index}", "This user has this role in the group already.", code="unique")
        user_roles.add((member.user, member.role))
