"""What people do to alerts, in the console or from a message, and to the rules that alerts follow."""

from contextlib import suppress
from typing import Any

from django.test import Client
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from accounts.services.organizations import update_organization
from alerting import services as alerting
from alerting.models import Alert
from escalation.services.engine import hurry
from escalation.services.plays import TierRule, update_play
from escalation.services.policies import RoleRule, create_policy, delete_policy, update_policy
from tests.histories.machine import PEOPLE, REFUSED, History

people = st.sampled_from(PEOPLE)
# Of the alerts, the newest first: where histories are short, most have one or two.
places = st.integers(0, 3)
POLICY_EDITS: dict[str, dict[str, Any]] = {
    "retries": {
        "roles": [RoleRule("primary", retries=2, retry_interval_minutes=1), RoleRule("manager", wait_minutes=2)]
    },
    "in turn": {"roles": [RoleRule("primary", between_members_minutes=1), RoleRule("secondary", wait_minutes=1)]},
    "managers only": {"roles": [RoleRule("manager")], "repeats": 0},
    "labels": {"roles": [RoleRule("secondary", contact_labels=("SMS",)), RoleRule("primary", wait_minutes=3)]},
    "wait first": {"roles": [RoleRule("primary", wait_minutes=2), RoleRule("secondary"), RoleRule("manager")]},
    "disabled": {"enabled": False},
    "enabled": {"enabled": True},
    "centralized": {"notify_using": "centralized"},
    "personal": {"notify_using": "user"},
    "once": {"repeats": 0},
    "repeated": {"repeats": 2},
    "an acknowledgement stops": {"acknowledge_stops": True},
    "an acknowledgement does not stop": {"acknowledge_stops": False},
    "no recovery notice": {"recovery_notice": False},
    "recovery notice": {"recovery_notice": True},
    "groups in turn": {"next_group_wait_minutes": 3},
    "some actions withheld": {"withheld": ["email:escalate", "email:assign"]},
}


class Alerts(History):
    """Answers of people, and edits of policies and plays."""

    def alert(self, place: int) -> Alert | None:
        return Alert.objects.order_by("-id")[place : place + 1].first()

    @precondition(lambda self: Alert.objects.exists())
    @rule(place=places, who=people)
    def acknowledge(self, place: int, who: str) -> None:
        self.act(alerting.acknowledge, place, who)

    @precondition(lambda self: Alert.objects.exists())
    @rule(place=places, who=people, to=people)
    def assign(self, place: int, who: str, to: str) -> None:
        self.act(alerting.assign, place, who, to=self.user(to))

    @precondition(lambda self: Alert.objects.exists())
    @rule(place=places, who=people)
    def hold(self, place: int, who: str) -> None:
        alert = self.act(alerting.hold, place, who)
        if alert is not None:
            self.held[alert.pk].append(self.world.now)

    @precondition(lambda self: Alert.objects.filter(status="on_hold").exists())
    @rule(who=people)
    def resume(self, who: str) -> None:
        alert = Alert.objects.filter(status="on_hold").order_by("-id").first()
        alerting.resume(alert, actor=self.user(who), now=self.world.now)

    @precondition(lambda self: Alert.objects.exists())
    @rule(place=places, who=people)
    def escalate(self, place: int, who: str) -> None:
        alert = self.act(alerting.escalate, place, who)
        if alert is not None:
            hurry([alert.pk], now=self.world.now)

    @precondition(lambda self: Alert.objects.exists())
    @rule(place=places, who=people, end=st.sampled_from([alerting.close, alerting.cancel]))
    def end(self, place: int, who: str, end: Any) -> None:
        self.act(end, place, who, reason="a test")

    def act(self, action: Any, place: int, who: str, **more: Any) -> Alert | None:
        alert = self.alert(place)
        try:
            return alert and action(alert, actor=self.user(who), now=self.world.now, **more)
        except REFUSED:
            return None  # not from this state, or not to this person

    @precondition(lambda self: any(sent.link for sent in self.exchange.sent))
    @rule(
        place=places,
        action=st.sampled_from(["assign", "acknowledge", "escalate", "close", "reply", "take-all"]),
        note=st.sampled_from(["", "on my way"]),
    )
    def respond(self, place: int, action: str, note: str) -> None:
        """Press a button of the page that one of the newest messages leads to."""
        links = list(dict.fromkeys(sent.link for sent in reversed(self.exchange.sent) if sent.link))
        link = links[min(place, len(links) - 1)]
        response = Client().post(link, {"action": action, "note": note})
        assert response.status_code < 500

    @rule(data=st.data(), edit=st.sampled_from(sorted(POLICY_EDITS)))
    def edit_policy(self, data: st.DataObject, edit: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.policies)))
        with suppress(*REFUSED):  # repeats of a walk that takes no time
            self.policies[name] = update_policy(
                self.policies[name], actor=self.owner, now=self.world.now, **POLICY_EDITS[edit]
            )

    @rule(name=st.sampled_from(["spare", "in turn", "together"]))
    def delete_or_make_policy(self, name: str) -> None:
        if name not in self.policies:
            self.policies[name] = create_policy(
                self.world.organization, name=name, roles=[RoleRule("primary"), RoleRule("secondary", wait_minutes=1)]
            )
        elif len(self.policies) > 1:
            try:
                delete_policy(self.policies[name], actor=self.owner, now=self.world.now)
            except REFUSED:
                return  # a job follows it
            del self.policies[name]

    @rule(enabled=st.booleans(), who=st.sets(people), offset=st.sampled_from([0, 2, 9]))
    def edit_play(self, enabled: bool, who: set[str], offset: int) -> None:
        tiers = [TierRule(offset, groups=[self.group("network")])]
        if who:
            tiers.append(TierRule(offset + 1, users=[self.user(name) for name in sorted(who)]))
        self.plays["play"] = update_play(
            self.plays["play"], actor=self.owner, now=self.world.now, enabled=enabled, tiers=tiers
        )

    @rule(window=st.sampled_from([0, 5, 60]))
    def collect(self, window: int) -> None:
        update_organization(self.world.organization, bundle_seconds=window)
