"""Groups and their members."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import ProtectedError, RestrictedError

from accounts.entitlements import Entitlement
from accounts.models import Group, GroupMember, GroupNesting, GroupRole, Organization, User
from accounts.permissions import may
from accounts.selectors import may_update_group, nested_groups, uses_of
from accounts.services.memberships import members_will_change
from accounts.services.saving import clean_name, unique
from heartbeat_project.kernel.errors import DomainError, FieldError, Forbidden

MAX_MEMBERS = 500


class GroupInUse(DomainError):
    """A group that is named somewhere cannot be deleted: who it paged would then be paged by nobody."""

    code = "in_use"
    title = "Still in use"


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A user, by id, in one group role; without a position the order of the list counts."""

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
    """Create a group with its members. Raises Forbidden, and FieldError at the field that is wrong.

    Without an actor it is the product itself that does it.
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
    """Change a group; `members` and `groups` replace all that were in it.

    Raises Forbidden, and FieldError at the field that is wrong.
    """
    if not may_update_group(actor, group):
        raise Forbidden("Only a Manager of this group, or who may update all groups, can change it.")
    with transaction.atomic():
        # Held, so that of two changes at once the members are those of one of them, not of both.
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
    """Delete a group that nothing names. Raises Forbidden, GroupInUse with what names it."""
    if actor.organization_id != group.organization_id or not may(actor, Entitlement.GROUPS_UPDATE_ALL):
        raise Forbidden("Your roles do not permit you to delete groups.")
    with transaction.atomic():
        # Whoever names the group now waits for this lock, and then finds it gone; who came first is seen below.
        Group.objects.select_for_update().filter(pk=group.pk).first()
        if uses := uses_of(group):
            raise GroupInUse(f"This group is named by {', '.join(uses)}. Take it out there first.")
        try:
            group.delete()
        except (ProtectedError, RestrictedError) as error:
            raise GroupInUse("This group is still in use.") from error


def _save(group: Group) -> None:
    with unique("group_name_unique", field="name", message=f"There is already a group named “{group.name}”."):
        group.save()


def _set_members(group: Group, members: list[Member]) -> None:
    _check(group, members)
    group.members.all().delete()
    GroupMember.objects.bulk_create(
        GroupMember(
            group=group,
            user_id=member.user,
            role=member.role,
            position=index if member.position is None else member.position,
        )
        for index, member in enumerate(members)
    )


def _set_groups(group: Group, inner: list[Group]) -> None:
    if not inner and not group.nestings.exists():
        return
    # A circle is seen by looking at all nestings: whoever else changes one in this organization waits for this lock.
    Organization.objects.select_for_update(no_key=True).get(pk=group.organization_id)
    for index, child in enumerate(inner):
        if child.organization_id != group.organization_id:
            raise FieldError(f"groups/{index}", "There is no such group.", code="does_not_exist")
        if group.pk in nested_groups([child.pk])[child.pk]:
            raise FieldError(
                f"groups/{index}", f"“{child}” is this group, or has it within: that would be a circle.", code="circle"
            )
    group.nestings.all().delete()
    GroupNesting.objects.bulk_create(
        GroupNesting(group=group, child=child, position=index) for index, child in enumerate(dict.fromkeys(inner))
    )


def _check(group: Group, members: list[Member]) -> None:
    if len(members) > MAX_MEMBERS:
        raise FieldError("members", f"A group has at most {MAX_MEMBERS} members.", code="max_length")
    wanted = {member.user for member in members}
    known = set(
        User.objects.filter(organization_id=group.organization_id, pk__in=wanted).values_list("pk", flat=True),
    )
    places = set()
    for index, member in enumerate(members):
        if member.user not in known:
            raise FieldError(f"members/{index}/user", "There is no such user.", code="does_not_exist")
        if member.role not in GroupRole.values:
            raise FieldError(f"members/{index}/role", f"The role is one of {', '.join(GroupRole.values)}.")
        if (member.user, member.role) in places:
            raise FieldError(f"members/{index}", "This user has this role in the group already.", code="unique")
        places.add((member.user, member.role))
