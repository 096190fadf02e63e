"""What people do to alerts, in the console or from a message, and to the rules that alerts follow."""

from contextlib import suppress
from typing import Any

from django.test import Client
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from accounts.services.organizations import update_organization
from alerting.models.alerts import Alert
from alerting.states import Action
from alerting.via import CONSOLE
from escalation.policies.plays import TierRule, update_play
from escalation.policies.policies import RoleRule, create_policy, delete_policy, update_policy
from escalation.responses.act import act
from tests.histories.machine import PEOPLE, REFUSED, History
from tests.world import minutes

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
    "reminders soon": {"reopen_after_minutes": 4},
    "no reminders": {"reopen_after_minutes": 0},
    "no recovery notice": {"recovery_notice": False},
    "recovery notice": {"recovery_notice": True},
    "groups in turn": {"next_group_wait_minutes": 3},
    "some actions disabled": {"disabled_actions": ["email:escalate", "email:assign"]},
}


class Alerts(History):
    """Answers of people, and edits of policies and plays."""

    def alert(self, place: int) -> Alert | None:
        return Alert.objects.order_by("-id")[place : place + 1].first()

    @precondition(lambda self: Alert.objects.exists())
    @rule(place=places, who=people)
    def acknowledge(self, place: int, who: str) -> None:
        self.act(Action.ACKNOWLEDGE, place, who)

    @precondition(lambda self: Alert.objects.exists())
    @rule(place=places, who=people, to=people)
    def assign(self, place: int, who: str, to: str) -> None:
        self.act(Action.ASSIGN, place, who, to=self.user(to))

    @precondition(lambda self: Alert.objects.exists())
    @rule(place=places, who=people, lasts=st.sampled_from([None, 1, 7, 90]))
    def hold(self, place: int, who: str, lasts: int | None) -> None:
        until = lasts and self.world.now + minutes(lasts)
        alert = self.act(Action.HOLD, place, who, until=until)
        if alert is not None:
            self.held[alert.pk].append(self.world.now)

    @precondition(lambda self: Alert.objects.filter(status="on_hold").exists())
    @rule(who=people)
    def resume(self, who: str) -> None:
        alert = Alert.objects.filter(status="on_hold").order_by("-id").first()
        act(alert, Action.RESUME, via=CONSOLE, actor=self.user(who), now=self.world.now)

    @precondition(lambda self: Alert.objects.exists())
    @rule(place=places, who=people)
    def escalate(self, place: int, who: str) -> None:
        self.act(Action.ESCALATE, place, who)

    @precondition(lambda self: Alert.objects.exists())
    @rule(place=places, who=people, action=st.sampled_from([Action.UNACKNOWLEDGE, Action.GIVE_BACK, Action.REPLY]))
    def take_back_or_note(self, place: int, who: str, action: Action) -> None:
        self.act(action, place, who, text="looking")

    @precondition(lambda self: Alert.objects.exists())
    @rule(place=places, who=people, end=st.sampled_from([Action.CLOSE, Action.CANCEL]))
    def end(self, place: int, who: str, end: Any) -> None:
        self.act(end, place, who, reason="a test")

    def act(self, action: Any, place: int, who: str, **more: Any) -> Alert | None:
        alert = self.alert(place)
        try:
            return alert and act(alert, action, via=CONSOLE, actor=self.user(who), now=self.world.now, **more)
        except REFUSED:
            return None  # not from this state, or not to this person

    @precondition(lambda self: any(sent.link for sent in self.exchange.sent))
    @rule(
        place=places,
        action=st.sampled_from(["assign", "acknowledge", "escalate", "close", "reply", "take-all", "on-it", "hold"]),
        note=st.sampled_from(["", "on my way"]),
    )
    def respond(self, place: int, action: str, note: str) -> None:
        """Press a button of the page that one of the newest messages leads to."""
        links = list(dict.fromkeys(sent.link for sent in reversed(self.exchange.sent) if sent.link))
        link = links[min(place, len(links) - 1)]
        response = Client().post(link, {"action": action, "note": note, "until": "hour"})
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
