"""Add, move and remove single members of a group, or give them another role."""

from collections.abc import Callable
from datetime import datetime

from django.db import transaction

from accounts.models.groups import Group
from accounts.models.users import User
from accounts.services.groups import Member, update_group
from heartbeat_project.kernel.errors import FieldError

UserRole = tuple[int, str]  # user id, group role


def add_member(group: Group, *, actor: User, now: datetime, user: User, role: str) -> None:
    """Add a user to the group, last in their role. Raises Forbidden, and FieldError at the field that is wrong."""
    _change(group, actor=actor, now=now, change=lambda members: [*members, (user.pk, role)])


def remove_member(group: Group, *, actor: User, now: datetime, user_id: int, role: str) -> None:
    """Remove a user from one role. Raises Forbidden, and FieldError if they do not have it any more."""

    def change(members: list[UserRole]) -> list[UserRole]:
        current = _find(members, user_id, role)
        return [member for member in members if member != current]

    _change(group, actor=actor, now=now, change=change)


def give_role(group: Group, *, actor: User, now: datetime, user_id: int, role: str, to: str) -> None:
    """Give a member the role `to` instead of `role`, last in it.

    Raises Forbidden, and FieldError if they do not have `role` any more or have `to` already.
    """

    def change(members: list[UserRole]) -> list[UserRole]:
        current = _find(members, user_id, role)
        return [*(member for member in members if member != current), (user_id, to)]

    _change(group, actor=actor, now=now, change=change)


def move_member(group: Group, *, actor: User, now: datetime, user_id: int, role: str, by: int) -> None:
    """Move a member `by` positions among the members of the same role: -1 is one earlier, 1 is one later.

    Moves beyond the first or last position end there. Raises Forbidden, and FieldError if they do not have the role
    any more.
    """

    def change(members: list[UserRole]) -> list[UserRole]:
        current = _find(members, user_id, role)
        peers = [member for member in members if member[1] == role]
        index = peers.index(current)
        peers.insert(max(index + by, 0), peers.pop(index))
        reordered = iter(peers)
        return [next(reordered) if member[1] == role else member for member in members]

    _change(group, actor=actor, now=now, change=change)


def _change(group: Group, *, actor: User, now: datetime, change: Callable[[list[UserRole]], list[UserRole]]) -> None:
    """Replace the members of the group by the result of `change`, which gets them in order."""
    with transaction.atomic():
        # Lock the group, so that of two changes at once the second sees the result of the first.
        Group.objects.select_for_update(no_key=True).filter(pk=group.pk).first()
        current = list(group.members.order_by("position", "id").values_list("user_id", "role"))
        members = [Member(user=user_id, role=role) for user_id, role in change(current)]
        try:
            update_group(group, actor=actor, now=now, members=members)
        except FieldError as error:
            # The form has the fields of one member, so `members/3/user` becomes `user`.
            raise FieldError(error.field.rpartition("/")[2], str(error), code=error.code) from error


def _find(members: list[UserRole], user_id: int, role: str) -> UserRole:
    if (user_id, role) not in members:
        raise FieldError("user", "This person no longer has this role in the group. Load the page again.")
    return user_id, role
