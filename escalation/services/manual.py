"""Alerts that people open by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from accounts.models import Group, User
from alerting.models import Alert, Bridge
from alerting.services import AlertDraft, add_viewers, open_alerts
from escalation.models import EscalationPolicy, ResponsePlay
from escalation.services.preview import Forecast, foresee
from escalation.services.runs import Starter, Way
from escalation.wording import one_line
from heartbeat_project.kernel.errors import FieldError

SOURCE = "Manual"
SUBJECT_LENGTH = 200
TEXT_LENGTH = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualAlert:
    """What a person wants others to know, and who is to be told: by a quick-launch policy or by a play.

    Without a priority, that of the policy or play holds. `source_id` is the sender's own name for it: a second one
    with the same is not sent.
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


def preview_alert(draft: ManualAlert, *, sender: User, now: datetime) -> Forecast:
    """Return who would be told of it, when, and over what, if it were sent now.

    Raises FieldError at the field that is wrong.
    """
    return foresee(_way(draft, sender), at=now)


def send_alert(draft: ManualAlert, *, sender: User, now: datetime) -> Alert:
    """Open the alert and start its escalation, in one transaction; the sender may see it.

    A draft with a `source_id` that the sender has used before gives the alert that was sent then. Raises FieldError at
    the field that is wrong.
    """
    way = _way(draft, sender)
    with transaction.atomic():
        # Holds off a second click of the same person until the first has been written.
        User.objects.select_for_update(no_key=True).get(pk=sender.pk)
        if draft.source_id and (sent := _sent_before(draft, sender)):
            return sent
        assert way.rule  # noqa: S101 - _way has seen to it
        subject = one_line(draft.subject)
        (alert_id,) = open_alerts(
            [
                AlertDraft(
                    organization_id=sender.organization_id,
                    subject=subject,
                    short_text=one_line(f"{subject}: {draft.text}" if draft.text.strip() else subject),
                    long_text=draft.text.strip() or subject,
                    facts=[],
                    source=SOURCE,
                    source_name=str(sender),
                    source_id=draft.source_id,
                    priority=draft.priority or way.rule.priority,
                    bridge_id=draft.bridge.pk if draft.bridge else None,
                    group_ids=way.group_ids,
                    user_ids=way.user_ids,
                    actor_id=sender.pk,
                )
            ],
            now=now,
        )
        add_viewers([(alert_id, sender.pk)])
        Starter(now=now).start([(way, [alert_id])])
    return Alert.objects.get(pk=alert_id)


def _sent_before(draft: ManualAlert, sender: User) -> Alert | None:
    """Return the sender's alert of this source id; looked for among those that they may see, by the viewer's index."""
    own = Alert.objects.filter(recipients__user=sender, source=SOURCE, source_id=draft.source_id)
    return own.filter(timeline__kind="opened", timeline__actor=sender).first()


def _way(draft: ManualAlert, sender: User) -> Way:
    """Return the way it would go; it is there, it may be launched, and it has somebody to tell."""
    if not draft.subject.strip():
        raise FieldError("subject", "Say what is wrong.", code="blank")
    policy, play = draft.escalation_policy, draft.response_play
    if (policy is None) == (play is None):
        said = "Choose a policy or a play, not both." if policy else "Choose a policy or a play."
        raise FieldError("escalation_policy", said, code="invalid" if policy else "required")
    if policy is not None and not policy.quick_launch:
        raise FieldError("escalation_policy", f"“{policy}” is not offered for alerts made by hand (quick launch).")
    rule, field = (policy, "escalation_policy") if policy else (play, "response_play")
    if rule is not None and not rule.enabled:
        raise FieldError(field, f"“{rule}” is disabled.")
    if policy is not None and not draft.recipient_groups and not draft.recipient_users:
        raise FieldError("recipient_groups", "Name groups or users to be told.", code="required")
    return Way(
        sender.organization_id,
        policy,
        play,
        tuple(group.pk for group in draft.recipient_groups),
        tuple(user.pk for user in draft.recipient_users),
    )
