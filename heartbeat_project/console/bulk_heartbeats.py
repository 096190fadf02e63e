"""What can be done with several heartbeats of the list at once."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction

from accounts.models.users import User
from escalation.models.policies import EscalationPolicy, ResponsePlay
from heartbeat_project.kernel.durations import in_words
from heartbeat_project.kernel.errors import DomainError
from heartbeat_project.kernel.ids import read_id
from integrations.heartbeats.edits import update_heartbeat
from integrations.maintenance.windows import create_window
from integrations.models.integrations import InboundIntegration
from integrations.models.labels import split_tags

MAX_AT_ONCE: Final = 50  # a page
MAX_RULES: Final = 50  # policies, and as many plays, to choose from
MAINTENANCE_MINUTES: Final = (30, 60, 120, 240, 480, 1440)
_POLICY, _PLAY, _WINDOW = "policy", "play", "maintenance"


class CannotBeDone(DomainError):
    """The choice names nothing that can be done."""

    code = "bulk"
    title = "Nothing was changed"
    status = 400


def bulk_choices(user: User) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return what can be done, as the groups of a drop-down: pairs of value and label."""
    windows = [
        (f"{_WINDOW}:{minutes}", f"Maintenance for {in_words(timedelta(minutes=minutes))}")
        for minutes in MAINTENANCE_MINUTES
    ]
    rules = {"organization_id": user.organization_id, "enabled": True}
    policies = EscalationPolicy.objects.filter(**rules).order_by("name", "pk")[:MAX_RULES]
    plays = ResponsePlay.objects.filter(**rules).order_by("name", "pk")[:MAX_RULES]
    return [
        ("State", [("enable", "Enable"), ("disable", "Disable"), *windows]),
        ("Tags, written beside", [("tag", "Add these tags"), ("untag", "Take these tags away")]),
        ("Follow the policy", [(f"{_POLICY}:{rule.pk}", rule.name) for rule in policies]),
        ("Follow the play", [(f"{_PLAY}:{rule.pk}", rule.name) for rule in plays]),
    ]


def act_on_all(
    integrations: Sequence[InboundIntegration], *, action: str, tags: str, actor: User, now: datetime
) -> str:
    """Do one thing with all of them, or with none, and return what was done. Raises DomainError and FieldError."""
    verb, _, value = action.partition(":")
    number, names = read_id(value), split_tags(tags)
    heartbeats = f"{len(integrations)} heartbeat{'' if len(integrations) == 1 else 's'}"
    if verb == _WINDOW and number in MAINTENANCE_MINUTES:
        ends_at = now + timedelta(minutes=number)
        name = f"{heartbeats}, by {actor.name}"[:200]
        create_window(actor.organization, name=name, starts_at=now, ends_at=ends_at, integrations=integrations, now=now)
        return f"{heartbeats} in maintenance for {in_words(timedelta(minutes=number))}."
    if verb in {"tag", "untag"} and not names:
        raise CannotBeDone("Write the tags into the field beside it.")
    changes = _changes(verb, number, actor=actor)
    with transaction.atomic():
        # In the order of their ids, as pings lock them.
        for integration in sorted(integrations, key=lambda one: one.pk):
            own = changes
            if verb == "tag":
                own = {"tags": [*integration.tags, *names]}
            elif verb == "untag":
                own = {"tags": [tag for tag in integration.tags if tag not in {name.lower() for name in names}]}
            update_heartbeat(integration, actor=actor, now=now, **own)
    done = {"enable": "enabled", "disable": "disabled", "tag": "tagged", "untag": "without these tags now"}
    return f"{heartbeats} {done.get(verb, 'changed')}."


def _changes(verb: str, number: int | None, *, actor: User) -> dict[str, Any]:
    """Return the changes that are the same for all. Raises CannotBeDone."""
    own = {"organization_id": actor.organization_id, "pk": number, "enabled": True}
    if verb in {"enable", "disable"}:
        return {"enabled": verb == "enable"}
    if verb in {"tag", "untag"}:
        return {}
    if verb == _POLICY and (policy := EscalationPolicy.objects.filter(**own).first()):
        return {"escalation_policy": policy, "response_play": None}
    if verb == _PLAY and (play := ResponsePlay.objects.filter(**own).first()):
        return {"response_play": play, "escalation_policy": None}
    raise CannotBeDone("Choose what to do with them.")
