"""Create, change and delete escalation policies."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from dataclasses import fields as fields_of
from datetime import datetime, time
from decimal import Decimal
from typing import Any, TypedDict, Unpack

from django.db import transaction

from accounts.models.contact_methods import Priority
from accounts.models.groups import GroupRole
from accounts.models.organizations import Organization
from accounts.models.users import User
from accounts.services.saving import clean_name, replace_rows, unique
from escalation.models.channel_actions import to_disabled_actions
from escalation.models.nights import NIGHT_BEGINS
from escalation.models.policies import EscalationPolicy, PolicyRole, ResponsePlay
from escalation.policies.edits import follow_change
from heartbeat_project.kernel.errors import DomainError, FieldError

# Integrations that an error names; a rule may have hundreds.
MAX_NAMES = 10
# Minutes after which the owner of a taken Critical alert is reminded, unless the rule says otherwise.
REMIND_OF_CRITICAL = Decimal(60)
# For each channel the actions that its messages allow.
AllowedActions = Mapping[str, Iterable[str]]


class RuleFields(TypedDict, total=False):
    """The columns that policies and plays have in common, but for the name."""

    description: str
    priority: str
    enabled: bool
    recovery_notice: bool
    # None: the usual time for a new rule; the present one in an edit.
    reopen_after_minutes: Decimal | float | None
    low_waits_until: time | None


class PolicyFields(RuleFields, total=False):
    """The columns of a policy that are neither its name nor its allowed actions."""

    quick_launch: bool
    notify_using: str
    next_group_wait_minutes: Decimal | float
    acknowledge_stops: bool
    repeats: int


class InUse(DomainError):
    """The policy or play cannot be deleted while integrations use it."""

    code = "in_use"
    title = "Still in use"
    status = 409


@dataclass(frozen=True, slots=True)
class RoleRule:
    """How one group role is notified; for the fields see PolicyRole."""

    role: str
    wait_minutes: Decimal = Decimal(0)
    between_members_minutes: Decimal = Decimal(0)
    retries: int = 0
    retry_interval_minutes: Decimal = Decimal(5)
    contact_labels: Sequence[str] = ()


def create_policy(
    organization: Organization,
    *,
    name: str,
    roles: Sequence[RoleRule],
    allowed_actions: AllowedActions | None = None,
    **fields: Unpack[PolicyFields],
) -> EscalationPolicy:
    """Create a policy with its role rules; without `allowed_actions` all messages allow everything.

    Raises FieldError at the field that is wrong; then nothing is saved.
    """
    policy = EscalationPolicy(organization=organization, name=name, **with_default_reminder(fields))
    _set_allowed_actions(policy, allowed_actions)
    _check(policy, roles)
    with transaction.atomic():
        _save(policy)
        _write_roles(policy, roles)
    return policy


def with_default_reminder(fields: RuleFields) -> dict[str, Any]:
    """Return the fields of a new policy or play; the time of its reminder is the usual one if it is not given."""
    minutes = fields.get("reopen_after_minutes")
    if minutes is None:
        minutes = REMIND_OF_CRITICAL if fields.get("priority") == Priority.CRITICAL else Decimal(0)
    return {**fields, "reopen_after_minutes": minutes}


def set_fields(rule: EscalationPolicy | ResponsePlay, name: str | None, fields: RuleFields) -> None:
    """Set the name, if one is given, and the fields of an edit; without a time of the reminder that stays as it is."""
    if name is not None:
        rule.name = name
    for field, value in fields.items():
        if field != "reopen_after_minutes" or value is not None:
            setattr(rule, field, value)


def update_policy(
    policy: EscalationPolicy,
    *,
    actor: User | None,
    now: datetime,
    name: str | None = None,
    roles: Sequence[RoleRule] | None = None,
    allowed_actions: AllowedActions | None = None,
    stop_running: bool = False,
    **fields: Unpack[PolicyFields],
) -> EscalationPolicy:
    """Change some fields, the role rules as a whole, or the allowed actions of some channels.

    Runs that have begun follow the policy as it was, and their timelines say so. `stop_running` ends them if the policy
    is disabled.

    Raises FieldError at the field that is wrong; then nothing is saved.
    """
    with transaction.atomic():
        policy = EscalationPolicy.objects.select_for_update().get(pk=policy.pk)
        was_enabled = policy.enabled
        set_fields(policy, name, fields)
        policy.version += 1
        _set_allowed_actions(policy, allowed_actions)
        checked_roles = rules_of(policy) if roles is None else roles
        _check(policy, checked_roles)
        _save(policy)
        if roles is not None:
            _write_roles(policy, roles)
        change = "disabled" if was_enabled and not policy.enabled else "changed"
        follow_change(policy, change, stop_running=stop_running, actor=actor, now=now)
    return policy


def delete_policy(policy: EscalationPolicy, *, actor: User | None, now: datetime) -> None:
    """Delete a policy that no integration uses; runs that follow it go on, and their timelines say so.

    Raises InUse, which names the integrations.
    """
    delete_unused(policy, actor=actor, now=now)


def rules_of(policy: EscalationPolicy) -> list[RoleRule]:
    """Return the policy's role rules as they stand."""
    return [
        RoleRule(
            role=role.role,
            wait_minutes=role.wait_minutes,
            between_members_minutes=role.between_members_minutes,
            retries=role.retries,
            retry_interval_minutes=role.retry_interval_minutes,
            contact_labels=tuple(role.contact_labels),
        )
        for role in policy.roles.all()
    ]


def delete_unused(rule: EscalationPolicy | ResponsePlay, *, actor: User | None, now: datetime) -> None:
    """Delete the policy or play unless integrations use it.

    Raises InUse, which names them.
    """
    with transaction.atomic():
        # An integration that somebody is just now giving this rule waits for the lock, and finds the rule gone.
        if not type(rule).objects.select_for_update().filter(pk=rule.pk).exists():
            return
        names = list(rule.integrations.order_by("name").values_list("name", flat=True)[: MAX_NAMES + 1])
        if names:
            names_text = ", ".join(f"“{name}”" for name in names[:MAX_NAMES])
            more = " and others" if len(names) > MAX_NAMES else ""
            raise InUse(f"“{rule}” is used by {names_text}{more}. Give these integrations another one first.")
        follow_change(rule, "deleted", actor=actor, now=now)
        rule.delete()


def _set_allowed_actions(policy: EscalationPolicy, allowed_actions: AllowedActions | None) -> None:
    if allowed_actions is None:
        return
    try:
        policy.disabled_actions = to_disabled_actions(allowed_actions, before=policy.disabled_actions)
    except KeyError as error:
        raise FieldError("allowed_actions", f"There is no channel {error}.") from error
    except ValueError as error:
        raise FieldError("allowed_actions", f"No message allows “{error}”.") from error


def check_morning(rule: EscalationPolicy | ResponsePlay) -> None:
    """Raise FieldError if the night would end after the next one begins."""
    if rule.low_waits_until is not None and rule.low_waits_until >= NIGHT_BEGINS:
        raise FieldError("low_waits_until", f"The night begins at {NIGHT_BEGINS:%H:%M}. Enter an earlier time of day.")


def _check(policy: EscalationPolicy, roles: Sequence[RoleRule]) -> None:
    policy.name = clean_name(policy.name)
    check_morning(policy)
    if not roles:
        raise FieldError("roles", "Choose at least one role to be notified.", code="required")
    seen: set[str] = set()
    for index, rule in enumerate(roles):
        if rule.role not in GroupRole.values:
            raise FieldError(f"roles/{index}/role", "A role is primary, secondary or manager.")
        if rule.role in seen:
            raise FieldError(f"roles/{index}/role", "Each role can be there once.", code="unique")
        seen.add(rule.role)
        if rule.retries and not rule.retry_interval_minutes > 0:
            raise FieldError(f"roles/{index}/retry_interval_minutes", "Retries need an interval above 0 minutes.")
    takes_time = any(rule.wait_minutes or rule.between_members_minutes or rule.retries for rule in roles)
    if policy.repeats and not takes_time:
        raise FieldError("repeats", "This walk takes no time, so its repeats would come at once. Use retries instead.")


def _save(policy: EscalationPolicy) -> None:
    message = f"There is already an escalation policy named “{policy.name}”."
    with unique("policy_name_unique", field="name", message=message):
        policy.save()


def _write_roles(policy: EscalationPolicy, roles: Iterable[RoleRule]) -> None:
    in_order = sorted(roles, key=lambda rule: GroupRole.values.index(rule.role))
    rows = [policy_role(policy, rule) for rule in in_order]
    replace_rows(PolicyRole.objects.filter(policy=policy), rows, by=[field.name for field in fields_of(RoleRule)])


def policy_role(policy: EscalationPolicy, rule: RoleRule) -> PolicyRole:
    """Return the unsaved row for one group role of a policy."""
    return PolicyRole(policy=policy, **asdict(rule) | {"contact_labels": list(rule.contact_labels)})
