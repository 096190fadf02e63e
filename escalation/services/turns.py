"""The running turn of a rotation stays with whoever has it when people come, go or change places."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from accounts.models import GroupMember
from escalation.rosters import pure_shift
from escalation.rota.shifts import Duty, Rotation, order_from_now
from escalation.shift_models import Shift, ShiftPerson


@dataclass(frozen=True, slots=True)
class RunningTurn:
    """Who has the turn of a rotation, in the order of its people, before the rotation is changed."""

    holders: tuple[Duty, ...]
    order: tuple[Duty, ...]
    first_on: date


def keep_running_turns(group_ids: Collection[int], *, now: datetime) -> None:
    """Write down who has the turn in these groups' rotations, before their active members change."""
    shifts = Shift.objects.filter(group_id__in=group_ids, kind=Shift.Kind.ROTATING).order_by("id")
    # Held, so that of two changes at once the second sees what the first has done.
    held = list(shifts.select_for_update(of=("self",)).prefetch_related("windows", "people"))
    active = _active_members(group_ids) if held else {}
    for shift in held:
        people = list(shift.people.all())
        running, turn = _running(shift, active[shift.group_id], now=now)
        _save(shift, people, order_from_now(running.holders, running.order), turn=turn)


def running_turn(shift: Shift, *, now: datetime) -> RunningTurn | None:
    """Return who has the turn of a shift whose row the caller holds; None: it is no rotation."""
    if shift.kind != Shift.Kind.ROTATING:
        return None
    return _running(shift, _active_members([shift.group_id])[shift.group_id], now=now)[0]


def go_on_with(running: RunningTurn | None, shift: Shift, *, now: datetime) -> None:
    """Let the turn of a changed shift stay with whoever has it; later turns follow the new order.

    A new day of the first hand-off begins with the first person anew.
    """
    if running is None or shift.kind != Shift.Kind.ROTATING or shift.first_handoff_on != running.first_on:
        if shift.turn_number:
            Shift.objects.filter(pk=shift.pk).update(turn_number=0)
        return
    stored = Shift.objects.prefetch_related("windows", "people").get(pk=shift.pk)
    people = list(stored.people.all())
    _, turn = _running(stored, frozenset(), now=now)
    order = order_from_now(running.holders, [_duty(person) for person in people], before=running.order)
    _save(stored, people, order, turn=turn)


def _running(shift: Shift, active: frozenset[int], *, now: datetime) -> tuple[RunningTurn, int]:
    pure = pure_shift(shift, members=active, active=active)
    rotation = pure.rotation
    assert isinstance(rotation, Rotation)  # noqa: S101 - the caller's shift is a rotation
    assert shift.first_handoff_on is not None  # noqa: S101 - a constraint of the table
    turn = rotation.turn(now, pure.zone)
    order = tuple(_duty(person) for person in shift.people.all())
    return RunningTurn(rotation.on(pure.duties, turn), order, shift.first_handoff_on), turn


def _save(shift: Shift, people: Sequence[ShiftPerson], order: Sequence[Duty], *, turn: int) -> None:
    places = {duty: place for place, duty in enumerate(order)}
    for person in people:
        person.turn_order = places[_duty(person)]
    ShiftPerson.objects.bulk_update(people, ["turn_order"])
    Shift.objects.filter(pk=shift.pk).update(turn_number=turn)


def _duty(person: ShiftPerson) -> Duty:
    return Duty(person.user_id, person.role)


def _active_members(group_ids: Collection[int]) -> dict[int, frozenset[int]]:
    found: dict[int, set[int]] = defaultdict(set)
    rows = GroupMember.objects.filter(group_id__in=group_ids, user__is_active=True)
    for group_id, user_id in rows.values_list("group_id", "user_id"):
        found[group_id].add(user_id)
    return {group_id: frozenset(found[group_id]) for group_id in group_ids}
