"""Copy an escalation policy."""

from collections.abc import Iterator
from itertools import count

from escalation.models.policies import EscalationPolicy, ResponsePlay
from escalation.policies.policies import create_policy, rules_of

# Characters: with a number behind it the name still fits into its column of 200.
COPY_LENGTH = 190


def clone_policy(policy: EscalationPolicy, *, name: str | None = None) -> EscalationPolicy:
    """Create a copy under `name`, or under the first free “Copy of …”."""
    if name is None:
        name = free_name(policy)
    return create_policy(
        policy.organization,
        name=name,
        roles=rules_of(policy),
        allowed_actions=policy.allowed_actions,
        description=policy.description,
        priority=policy.priority,
        enabled=policy.enabled,
        quick_launch=policy.quick_launch,
        notify_using=policy.notify_using,
        next_group_wait_minutes=policy.next_group_wait_minutes,
        acknowledge_stops=policy.acknowledge_stops,
        recovery_notice=policy.recovery_notice,
        repeats=policy.repeats,
        reopen_after_minutes=policy.reopen_after_minutes,
        low_waits_until=policy.low_waits_until,
    )


def free_name(rule: EscalationPolicy | ResponsePlay) -> str:
    """Return “Copy of NAME”, with a number if that is taken."""
    names = type(rule).objects.filter(organization_id=rule.organization_id).values_list("name", flat=True)
    names_in_use = {name.lower() for name in names}
    return next(name for name in _copy_names(rule.name) if name.lower() not in names_in_use)


def _copy_names(name: str) -> Iterator[str]:
    copy = f"Copy of {name}"[:COPY_LENGTH]
    yield copy
    yield from (f"{copy} ({number})" for number in count(2))
