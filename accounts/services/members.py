"""One member of a group at a time: added, moved, given another role, taken out."""

from collections.abc import Callable
from datetime import datetime

from django.db import transaction

from accounts.models import Group, User
from accounts.services.groups import Member, update_group
from heartbeat_project.kernel.errors import FieldError

Place = tuple[int, str]


def add_member(group: Group, *, actor: User, now: datetime, user: User, role: str) -> None:
    """Put a user into the group, last in their role. Raises Forbidden, and FieldError at the field that is wrong."""
    _change(group, actor=actor, now=now, change=lambda places: [*places, (user.pk, role)])


def remove_member(group: Group, *, actor: User, now: datetime, user_id: int, role: str) -> None:
    """Take a user out of one role. Raises Forbidden, and FieldError where they are not in it any more."""

    def change(places: list[Place]) -> list[Place]:
        found = _find(places, user_id, role)
        return [place for place in places if place != found]

    _change(group, actor=actor, now=now, change=change)


def give_role(group: Group, *, actor: User, now: datetime, user_id: int, role: str, to: str) -> None:
    """Give a member another role, last in it. Raises Forbidden, and FieldError where that cannot be."""

    def change(places: list[Place]) -> list[Place]:
        found = _find(places, user_id, role)
        return [*(place for place in places if place != found), (user_id, to)]

    _change(group, actor=actor, now=now, change=change)


def move_member(group: Group, *, actor: User, now: datetime, user_id: int, role: str, by: int) -> None:
    """Move a member among those of the same role: -1 is one earlier, 1 one later, and the ends stay the ends.

    Raises Forbidden, and FieldError where they are not in this role any more.
    """

    def change(places: list[Place]) -> list[Place]:
        found = _find(places, user_id, role)
        peers = [place for place in places if place[1] == role]
        at = peers.index(found)
        peers.insert(max(at + by, 0), peers.pop(at))
        moved = iter(peers)
        return [next(moved) if place[1] == role else place for place in places]

    _change(group, actor=actor, now=now, change=change)


def _change(group: Group, *, actor: User, now: datetime, change: Callable[[list[Place]], list[Place]]) -> None:
    """Replace the members by what `change` makes of their places (user id, role), in order."""
    with transaction.atomic():
        # Held, so that of two changes at once the second sees what the first has done.
        Group.objects.select_for_update(no_key=True).filter(pk=group.pk).first()
        places = list(group.members.order_by("position", "id").values_list("user_id", "role"))
        members = [Member(user=user_id, role=role) for user_id, role in change(places)]
        try:
            update_group(group, actor=actor, now=now, members=members)
        except FieldError as error:
            # A form has one member, not the list of them.
            raise FieldError(error.field.rpartition("/")[2], str(error), code=error.code) from error


def _find(places: list[Place], user_id: int, role: str) -> Place:
    if (user_id, role) not in places:
        raise FieldError("user", "This person does not have this role in the group any more. Load the page again.")
    return user_id, role
