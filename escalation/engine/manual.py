"""Alerts that people open by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Q, QuerySet

from accounts.models.groups import Group
from accounts.models.users import User
from alerting.models.alerts import BY_HAND, Alert, AlertRecipient, TimelineEntry
from alerting.models.bridges import Bridge
from alerting.services.alerts import AlertDraft, add_viewers, open_alerts
from escalation.engine.preview import EscalationPreview, preview_escalation
from escalation.engine.start import EscalationStarter, Route
from escalation.models.policies import EscalationPolicy, ResponsePlay
from heartbeat_project.kernel.errors import FieldError
from heartbeat_project.kernel.wording import one_line

SOURCE = BY_HAND
# The conditions for policies and plays that alerts made by hand may follow.
LAUNCHABLE_POLICY = Q(enabled=True, quick_launch=True)
LAUNCHABLE_PLAY = Q(enabled=True)
# Characters that a person may enter.
SUBJECT_LENGTH = 200
TEXT_LENGTH = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualAlert:
    """What a person wants others to know, and whom to notify: by a quick-launch policy or by a play.

    Without a priority, that of the policy or play holds. `source_id` is the sender's own id for the alert: a second
    alert of the same sender with the same id is not sent.
    """

    subject: str
    text: str = ""
    priority: str | None = None
    escalation_policy: EscalationPolicy | None = None
    response_play: ResponsePlay | None = None
    recipient_groups: Sequence[Group] = ()
    recipient_users: Sequence[User] = ()
    bridge: Bridge | None = None
    source_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsualRecipients:
    """How a person would most likely send an alert: the rule that they used last, and their own group."""

    rule: EscalationPolicy | ResponsePlay | None
    groups: Sequence[Group]


def launchable_policies(organization_id: int) -> QuerySet[EscalationPolicy]:
    """Return the policies that alerts made by hand may follow."""
    return EscalationPolicy.objects.filter(LAUNCHABLE_POLICY, organization_id=organization_id)


def launchable_plays(organization_id: int) -> QuerySet[ResponsePlay]:
    """Return the plays that alerts made by hand may follow."""
    return ResponsePlay.objects.filter(LAUNCHABLE_PLAY, organization_id=organization_id)


def usual_recipients(sender: User) -> UsualRecipients:
    """Return the rule that the sender used last and may still use, or the only one there is; and the sender's group.

    Of several own groups those that the sender named last are returned, or the first one.
    """
    policies = launchable_policies(sender.organization_id)
    plays = launchable_plays(sender.organization_id)
    last_sent = (
        TimelineEntry.objects.filter(actor=sender, kind=TimelineEntry.Kind.OPENED, alert__source=SOURCE)
        .filter(Q(alert__run__policy__in=policies) | Q(alert__run__play__in=plays))
        .order_by("-at")
        .values_list("alert_id", "alert__run__policy", "alert__run__play")
        .first()
    )
    own_groups = list(Group.objects.filter(members__user=sender).distinct().order_by("name", "pk"))
    if last_sent is None:
        rules: list[EscalationPolicy | ResponsePlay] = [*policies[:2], *plays[:2]]
        only_rule = rules[0] if len(rules) == 1 else None
        return UsualRecipients(rule=only_rule, groups=own_groups[:1])
    alert_id, policy_id, play_id = last_sent
    rule = policies.filter(pk=policy_id).first() or plays.filter(pk=play_id).first()
    group_ids = set(AlertRecipient.objects.filter(alert=alert_id).values_list("group", flat=True))
    return UsualRecipients(rule=rule, groups=[group for group in own_groups if group.pk in group_ids] or own_groups[:1])


def preview_alert(draft: ManualAlert, *, sender: User, now: datetime) -> EscalationPreview:
    """Return who would be notified of the alert, when, and over what, if it were sent now; its texts may be missing.

    Raises FieldError at the field that is wrong.
    """
    return preview_escalation(_route(draft, sender), at=now)


def send_alert(draft: ManualAlert, *, sender: User, now: datetime) -> Alert:
    """Open the alert and start its escalation, in one transaction; the sender may see it.

    If the sender has used the draft's `source_id` before, the alert of that time is returned instead. Raises FieldError
    at the field that is wrong.
    """
    if not draft.subject.strip():
        raise FieldError("subject", "Say what is wrong.", code="blank")
    route = _route(draft, sender)
    with transaction.atomic():
        # Of two clicks of one person, the second waits here until the first has written its alert, and finds that.
        User.objects.select_for_update(no_key=True).get(pk=sender.pk)
        if draft.source_id and (earlier := _find_sent_before(draft, sender)):
            return earlier
        assert route.rule  # noqa: S101 - _route has checked it
        subject = one_line(draft.subject)
        bridge_id = draft.bridge.pk if draft.bridge else None
        (alert_id,) = open_alerts(
            [
                AlertDraft(
                    organization_id=sender.organization_id,
                    subject=subject,
                    short_text=_short(sender, subject, draft.text),
                    long_text=_long(sender, draft.text),
                    facts=[],
                    source=SOURCE,
                    source_name=str(sender),
                    source_id=draft.source_id,
                    priority=route.priority,
                    bridge_id=bridge_id,
                    group_ids=route.group_ids,
                    user_ids=route.user_ids,
                    actor_id=sender.pk,
                )
            ],
            now=now,
        )
        add_viewers([(alert_id, sender.pk)])
        EscalationStarter(now=now).start([(route, [alert_id])])
    return Alert.objects.get(pk=alert_id)


def _short(sender: User, subject: str, text: str) -> str:
    """Return the text for SMS and calls: a sentence that begins with whose alert it is."""
    details = f": {text}" if text.strip() else ""
    sentence = one_line(f"Alert from {sender}: {subject}{details}")
    return sentence if sentence.endswith((".", "!", "?", "…")) else f"{sentence}."


def _long(sender: User, text: str) -> str:
    stripped = text.strip()
    return f"{stripped}\n\nSent by {sender}." if stripped else f"Sent by {sender}, without further text."


def _find_sent_before(draft: ManualAlert, sender: User) -> Alert | None:
    """Return the sender's earlier alert with this source id, if any."""
    # Among the alerts that the sender may see, because the index of viewers serves that.
    visible = Alert.objects.filter(recipients__user=sender, source=SOURCE, source_id=draft.source_id)
    return visible.filter(timeline__kind="opened", timeline__actor=sender).first()


def _route(draft: ManualAlert, sender: User) -> Route:
    """Return the route of the alert.

    Raises FieldError unless there is one rule, the sender may launch it, and it has somebody to notify.
    """
    policy, play = draft.escalation_policy, draft.response_play
    if (policy is None) == (play is None):
        if policy is not None:
            raise FieldError("escalation_policy", "Choose a policy or a play, not both.")
        raise FieldError("escalation_policy", "Choose a policy or a play.", code="required")
    if policy is not None and not policy.quick_launch:
        raise FieldError(
            "escalation_policy", f"“{policy}” does not allow alerts made by hand. Enable quick launch in the policy."
        )
    rule = policy or play
    if rule is not None and not rule.enabled:
        field = "escalation_policy" if policy else "response_play"
        raise FieldError(field, f"“{rule}” is disabled.")
    if policy is not None and not draft.recipient_groups and not draft.recipient_users:
        raise FieldError("recipient_groups", "Name groups or people to be notified.", code="required")
    return Route(
        sender.organization_id,
        policy,
        play,
        tuple(group.pk for group in draft.recipient_groups),
        tuple(user.pk for user in draft.recipient_users),
        own_priority=draft.priority or "",
    )
