"""Shifts and absences for tests, made by the services as the Owner of all would."""

from datetime import date, time

from accounts.models.groups import Group
from accounts.models.users import User
from escalation.models.on_call import OutOfOffice, Shift
from escalation.oncall.absences import create_absence
from escalation.oncall.shifts import PersonRule, WindowRule, create_shift
from tests.factories import WHEN, UserFactory


def _admin(organization) -> User:
    found = organization.users.filter(roles__builtin="App Admin").first()
    return found or UserFactory(organization=organization, name="Rota Admin", roles=["App Admin"], is_active=True)


def make_shift(group: Group, *, primary=(), secondary=(), windows=(), now=WHEN, **fields) -> Shift:
    """Return a new shift; `primary` and `secondary` are users, `windows` are (days, starts, ends[, days later])."""
    people = [PersonRule(user=user.pk) for user in primary]
    people += [PersonRule(user=user.pk, role="secondary") for user in secondary]
    rules = [
        WindowRule(
            days=days,
            starts=time.fromisoformat(starts),
            ends=time.fromisoformat(ends),
            days_later=later[0] if later else 0,
        )
        for days, starts, ends, *later in windows
    ]
    fields.setdefault("name", f"Shift {group.shifts.count() + 1}")
    return create_shift(group, actor=_admin(group.organization), now=now, people=people, windows=rules, **fields)


def make_rotation(group: Group, *, primary=(), secondary=(), first: str = "2026-03-02", at: str = "09:00", **fields):
    """Return a new rotating shift, weekly unless said otherwise."""
    return make_shift(
        group,
        primary=primary,
        secondary=secondary,
        kind=Shift.Kind.ROTATING,
        first_handoff_on=date.fromisoformat(first),
        handoff_time=time.fromisoformat(at),
        **fields,
    )


def make_absence(user: User, cover: User, *, starts_at, ends_at, group=None, actor=None, now=WHEN) -> OutOfOffice:
    """Return a new entry: out of office."""
    return create_absence(
        user, actor=actor or user, cover=cover, starts_at=starts_at, ends_at=ends_at, group=group, now=now
    )
