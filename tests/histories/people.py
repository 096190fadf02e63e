"""What happens to people: groups, roles, shifts, absences, accounts, contact methods, opting out."""

from contextlib import suppress
from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from accounts.models.contact_methods import ContactMethod
from accounts.services.contact_methods import (
    create_contact_method,
    delete_contact_method,
    issue_code,
    update_contact_method,
    verify_contact_method,
)
from accounts.services.groups import Member, update_group
from accounts.services.opt_outs import opt_in, opt_out
from accounts.services.users import deactivate_user, reactivate_user
from escalation.models.on_call import OutOfOffice, Shift
from escalation.oncall.absences import create_absence, delete_absence
from escalation.oncall.shifts import PersonRule, create_shift, delete_shift
from tests.histories.jobs import jobs
from tests.histories.machine import PEOPLE, REFUSED, History
from tests.world import minutes

people = st.sampled_from(PEOPLE)
groups = st.sampled_from(["database", "network"])
roles = st.sampled_from(["primary", "primary", "secondary", "manager"])
LABELS = {
    "E-mail-Private": ("email", "{0}@home.example.net"),
    "SMS": ("sms", "+49151234567{1:02}"),
    "Webhook": ("webhook", "https://hooks.example.com/{0}"),
}


class People(History):
    """The rota, and over what its people can be reached."""

    @rule(name=groups, members=st.lists(st.tuples(people, roles), unique=True, max_size=5))
    def change_members(self, name: str, members: list[tuple[str, str]]) -> None:
        chosen = [Member(user=self.user(who).pk, role=role) for who, role in members]
        update_group(self.group(name), actor=self.owner, now=self.world.now, members=chosen)

    @rule(outer=groups, inner=st.none() | groups)
    def nest(self, outer: str, inner: str | None) -> None:
        with suppress(*REFUSED):  # a circle
            update_group(
                self.group(outer), actor=self.owner, now=self.world.now, groups=[self.group(inner)] if inner else []
            )

    @rule(name=groups, lasts=st.sampled_from([None, 4, 30]), pick=st.sets(people, min_size=1, max_size=2))
    def add_shift(self, name: str, lasts: int | None, pick: set[str]) -> None:
        """Give a group a shift, or with an end an override."""
        group = self.group(name)
        with suppress(*REFUSED):  # not members, or a name that is taken
            create_shift(
                group,
                actor=self.owner,
                now=self.world.now,
                name=f"Shift {group.shifts.count()}",
                people=[PersonRule(user=self.user(who).pk) for who in sorted(pick)],
                starts_at=self.world.now,
                ends_at=lasts and self.world.now + minutes(lasts),
            )

    @rule(name=groups)
    def drop_shift(self, name: str) -> None:
        shift = Shift.objects.filter(group=self.group(name)).order_by("id").first()
        if shift is not None:
            delete_shift(shift, actor=self.owner)

    @rule(who=people, cover=people, lasts=st.sampled_from([3, 20, 300]).map(minutes), group=st.none() | groups)
    def go_out(self, who: str, cover: str, lasts: timedelta, group: str | None) -> None:
        with suppress(*REFUSED):  # out already, a circle, or covered by who is gone
            create_absence(
                self.user(who),
                actor=self.owner,
                now=self.world.now,
                cover=self.user(cover),
                starts_at=self.world.now,
                ends_at=self.world.now + lasts,
                group=group and self.group(group),
            )

    @precondition(lambda self: OutOfOffice.objects.exists())
    @rule()
    def come_back(self) -> None:
        delete_absence(OutOfOffice.objects.order_by("id").first(), actor=self.owner)

    @rule(who=people)
    def come_or_go(self, who: str) -> None:
        user = self.user(who)
        (deactivate_user if user.is_active else reactivate_user)(user, actor=self.owner, now=self.world.now)

    @rule(
        who=people,
        label=st.sampled_from(sorted(LABELS)),
        delay=st.sampled_from([0, 0, 1, 4]),
        repeat=st.sampled_from([0, 0, 2]),
        verify=st.booleans(),
        position=st.sampled_from([0, 5]),
    )
    def add_method(self, who: str, label: str, delay: int, repeat: int, verify: bool, position: int) -> None:
        kind, address = LABELS[label]
        user = self.user(who)
        try:
            method = create_contact_method(
                user,
                actor=self.owner,
                label=label,
                kind=kind,
                address=address.format(who, PEOPLE.index(who)),
                delay_minutes=delay,
                repeat_count=repeat,
                repeat_gap_minutes=1,
                position=position,
            )
        except REFUSED:
            return  # it is there already
        if verify:
            self.verify(method)

    def verify(self, method: ContactMethod) -> None:
        code = issue_code(method.pk, now=self.world.now)
        if code is not None:
            verify_contact_method(method, code=code, actor=method.user, now=self.world.now)

    @rule(who=people, label=st.sampled_from(sorted(LABELS)), change=st.sampled_from(["verify", "switch", "delete"]))
    def change_method(self, who: str, label: str, change: str) -> None:
        method = ContactMethod.objects.select_related("user").filter(user=self.user(who), label=label).first()
        if method is None:
            return
        if change == "delete":
            delete_contact_method(method, actor=self.owner)
        elif change == "switch":
            update_contact_method(method, actor=self.owner, enabled=not method.enabled)
        elif method.verified_at is None:
            self.verify(method)

    @rule(who=people, delay=st.sampled_from([0, 2]), repeat=st.sampled_from([0, 1]))
    def change_official(self, who: str, delay: int, repeat: int) -> None:
        method = self.user(who).contact_methods.get(label="Email-Official")
        update_contact_method(method, actor=self.owner, delay_minutes=delay, repeat_count=repeat, repeat_gap_minutes=1)

    @rule(who=people, name=jobs, out=st.booleans())
    def opt(self, who: str, name: str, out: bool) -> None:
        if name not in self.oracle.jobs:
            return
        if out:
            opt_out(self.user(who), integration_id=self.job(name).pk, now=self.world.now)
        else:
            opt_in(self.user(who), integration_id=self.job(name).pk)
