"""Keep the current turn of a rotation with the people who have it when people join, leave or change their order."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from accounts.models.groups import GroupMember
from escalation.models.on_call import Shift, ShiftPerson
from escalation.oncall.rota.shifts import RoleHolder, Rotation, order_from_now
from escalation.oncall.rotas import pure_shift


@dataclass(frozen=True, slots=True)
class RunningTurn:
    """Who has the current turn of a rotation, the order of its people, and its first day, before a change."""

    holders: tuple[RoleHolder, ...]
    order: tuple[RoleHolder, ...]
    first_on: date


def keep_running_turns(group_ids: Collection[int], *, now: datetime) -> None:
    """Store who has the current turn in the rotations of these groups, before their active members change."""
    shifts = Shift.objects.filter(group_id__in=group_ids, kind=Shift.Kind.ROTATING).order_by("id")
    # Locked, so that of two simultaneous changes the second sees the result of the first.
    locked = list(shifts.select_for_update(of=("self",)).prefetch_related("windows", "people"))
    active = _active_members(group_ids) if locked else {}
    for shift in locked:
        people = list(shift.people.all())
        running, turn = _running(shift, active[shift.group_id], now=now)
        _save(shift, people, order_from_now(running.holders, running.order), turn=turn)


def running_turn(shift: Shift, *, now: datetime) -> RunningTurn | None:
    """Return who has the current turn of a shift whose row the caller has locked, or None if it is not a rotation."""
    if shift.kind != Shift.Kind.ROTATING:
        return None
    return _running(shift, _active_members([shift.group_id])[shift.group_id], now=now)[0]


def go_on_with(running: RunningTurn | None, shift: Shift, *, now: datetime) -> None:
    """Keep the current turn of a changed shift with the people who have it; later turns follow the new order.

    A new day of the first hand-off restarts the rotation with the first person.
    """
    if running is None or shift.kind != Shift.Kind.ROTATING or shift.first_handoff_on != running.first_on:
        if shift.turn_number:
            Shift.objects.filter(pk=shift.pk).update(turn_number=0)
        return
    stored = Shift.objects.prefetch_related("windows", "people").get(pk=shift.pk)
    people = list(stored.people.all())
    _, turn = _running(stored, frozenset(), now=now)
    order = order_from_now(running.holders, [_role_holder(person) for person in people], before=running.order)
    _save(stored, people, order, turn=turn)


def _running(shift: Shift, active: frozenset[int], *, now: datetime) -> tuple[RunningTurn, int]:
    pure = pure_shift(shift, members=active, active=active)
    rotation = pure.rotation
    assert isinstance(rotation, Rotation)  # noqa: S101 - the caller's shift is a rotation
    assert shift.first_handoff_on is not None  # noqa: S101 - a constraint of the table
    turn = rotation.turn(now, pure.zone)
    order = tuple(_role_holder(person) for person in shift.people.all())
    return RunningTurn(rotation.on(pure.role_holders, turn), order, shift.first_handoff_on), turn


def _save(shift: Shift, people: Sequence[ShiftPerson], order: Sequence[RoleHolder], *, turn: int) -> None:
    positions = {role_holder: position for position, role_holder in enumerate(order)}
    for person in people:
        person.turn_order = positions[_role_holder(person)]
    ShiftPerson.objects.bulk_update(people, ["turn_order"])
    Shift.objects.filter(pk=shift.pk).update(turn_number=turn)


def _role_holder(person: ShiftPerson) -> RoleHolder:
    return RoleHolder(person.user_id, person.role)


def _active_members(group_ids: Collection[int]) -> dict[int, frozenset[int]]:
    members_by_group: dict[int, set[int]] = defaultdict(set)
    rows = GroupMember.objects.filter(group_id__in=group_ids, user__is_active=True)
    for group_id, user_id in rows.values_list("group_id", "user_id"):
        members_by_group[group_id].add(user_id)
    return {group_id: frozenset(members_by_group[group_id]) for group_id in group_ids}
