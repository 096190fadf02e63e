"""Create, change, clone and delete escalation policies, and the five that every organization starts with."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from itertools import count
from typing import Any

from django.db import transaction

from accounts.models import EMAIL_OFFICIAL, GroupRole, Organization, User
from accounts.services import create_organization
from accounts.services.saving import clean_name, unique
from alerting.models import Priority
from escalation.models import EscalationPolicy, PolicyRole, ResponsePlay
from escalation.offers import withholding
from escalation.services.running import follow_change
from heartbeat_project.kernel.errors import DomainError, FieldError

NAMES_SHOWN = 10
REMIND_OF_CRITICAL = Decimal(60)
_USER, _CENTRALIZED = EscalationPolicy.NotifyUsing.USER, EscalationPolicy.NotifyUsing.CENTRALIZED
Offers = Mapping[str, Iterable[str]]
_PRIMARY, _SECONDARY, _MANAGER = GroupRole.PRIMARY, GroupRole.SECONDARY, GroupRole.MANAGER


class InUse(DomainError):
    """The policy or play cannot be deleted while integrations use it."""

    code = "in_use"
    title = "Still in use"
    status = 409


@dataclass(frozen=True, slots=True)
class RoleRule:
    """How one group role is told; the fields of PolicyRole."""

    role: str
    wait_minutes: Decimal = Decimal(0)
    between_members_minutes: Decimal = Decimal(0)
    retries: int = 0
    retry_interval_minutes: Decimal = Decimal(5)
    contact_labels: Sequence[str] = ()


def create_policy(
    organization: Organization, *, name: str, roles: Sequence[RoleRule], offers: Offers | None = None, **fields: Any
) -> EscalationPolicy:
    """Create a policy with its role rules; `offers` names the actions that messages offer, for each channel.

    Raises FieldError at the field that is wrong; then nothing is saved.
    """
    policy = EscalationPolicy(organization=organization, name=name, **with_default_reminder(fields))
    _offer(policy, offers)
    _check(policy, roles)
    with transaction.atomic():
        _save(policy)
        _write_roles(policy, roles)
    return policy


def with_default_reminder(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a new policy or play, with after how long it reminds where nothing is said."""
    wanted = fields.get("reopen_after_minutes")
    usual = REMIND_OF_CRITICAL if fields.get("priority") == Priority.CRITICAL else Decimal(0)
    return fields | {"reopen_after_minutes": usual if wanted is None else wanted}


def without_nothing(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an edit; where it does not say after how long to remind, that stays as it is."""
    said = fields.get("reopen_after_minutes") is not None
    return {field: value for field, value in fields.items() if said or field != "reopen_after_minutes"}


def update_policy(
    policy: EscalationPolicy,
    *,
    actor: User | None,
    now: datetime,
    roles: Sequence[RoleRule] | None = None,
    offers: Offers | None = None,
    stop_running: bool = False,
    **fields: Any,
) -> EscalationPolicy:
    """Change some fields, the role rules as a whole, or what some channels offer.

    Runs that have begun follow what they began with, and their timelines say so; `stop_running` ends them, where the
    policy is disabled.

    Raises FieldError at the field that is wrong; then nothing is saved.
    """
    with transaction.atomic():
        policy = EscalationPolicy.objects.select_for_update().get(pk=policy.pk)
        was_enabled = policy.enabled
        for field, value in without_nothing(fields).items():
            setattr(policy, field, value)
        policy.version += 1
        _offer(policy, offers)
        _check(policy, rules_of(policy) if roles is None else roles)
        _save(policy)
        if roles is not None:
            policy.roles.all().delete()
            _write_roles(policy, roles)
        what = "disabled" if was_enabled and not policy.enabled else "changed"
        follow_change(policy, what, stop_running=stop_running, actor=actor, now=now)
    return policy


def clone_policy(policy: EscalationPolicy, *, name: str | None = None) -> EscalationPolicy:
    """Create a copy under `name`, or under the first free “Copy of …”."""
    copied = (
        "description",
        "priority",
        "enabled",
        "quick_launch",
        "notify_using",
        "next_group_wait_minutes",
        "acknowledge_stops",
        "recovery_notice",
        "repeats",
        "reopen_after_minutes",
        "withheld",
    )
    fields = {field: getattr(policy, field) for field in copied}
    return create_policy(
        policy.organization,
        name=name if name is not None else free_name(policy),
        roles=rules_of(policy),
        **fields,
    )


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


def ship_policies(organization: Organization) -> list[EscalationPolicy]:
    """Give a new organization the five shipped policies, in the order of the documentation."""
    roles = (_PRIMARY, _SECONDARY, _MANAGER)
    five_minutes = [RoleRule(role, wait_minutes=Decimal(5 if index else 0)) for index, role in enumerate(roles)]
    with_retries = [
        RoleRule(role, wait_minutes=Decimal(30 if index else 0), retries=5) for index, role in enumerate(roles)
    ]
    shipped: list[tuple[str, str, str, str, list[RoleRule]]] = [
        (
            "Escalate after 5 minutes, user preference",
            "Primary at once, Secondary after 5 minutes, Manager after 5 more; each over their own contact methods.",
            Priority.HIGH,
            _USER,
            five_minutes,
        ),
        (
            "Escalate after 30 minutes with 5 retries, centralized",
            "Each role is told at once and five times more, 5 minutes apart; after 30 minutes the next role is told.",
            Priority.HIGH,
            _CENTRALIZED,
            with_retries,
        ),
        (
            "All hands, all contacts",
            "Everybody at once over every contact method.",
            Priority.CRITICAL,
            _CENTRALIZED,
            [RoleRule(role) for role in roles],
        ),
        (
            "All hands, e-mail only",
            "Everybody at once by e-mail.",
            Priority.MEDIUM,
            _CENTRALIZED,
            [RoleRule(role, contact_labels=(EMAIL_OFFICIAL,)) for role in roles],
        ),
        (
            "E-mail manager",
            "The Manager at once by e-mail.",
            Priority.LOW,
            _CENTRALIZED,
            [RoleRule(_MANAGER, contact_labels=(EMAIL_OFFICIAL,))],
        ),
    ]
    with transaction.atomic():
        policies = EscalationPolicy.objects.bulk_create(
            EscalationPolicy(
                organization=organization,
                name=name,
                description=description,
                priority=priority,
                notify_using=notify_using,
                quick_launch=priority == Priority.CRITICAL,
                reopen_after_minutes=REMIND_OF_CRITICAL if priority == Priority.CRITICAL else 0,
            )
            for name, description, priority, notify_using, _ in shipped
        )
        PolicyRole.objects.bulk_create(
            _role(policy, rule) for policy, (*_, rules) in zip(policies, shipped, strict=True) for rule in rules
        )
    return policies


def found_organization(*, name: str, now: datetime) -> Organization:
    """Create an organization with its built-in roles and the shipped policies."""
    with transaction.atomic():
        organization = create_organization(name=name, now=now)
        ship_policies(organization)
    return organization


def delete_unused(row: EscalationPolicy | ResponsePlay, *, actor: User | None, now: datetime) -> None:
    """Delete the row unless integrations use it.

    Raises InUse, which names them.
    """
    with transaction.atomic():
        # The lock holds off an integration that is being given this rule; it waits, and finds it gone.
        if not type(row).objects.select_for_update().filter(pk=row.pk).exists():
            return
        names = list(row.integrations.order_by("name").values_list("name", flat=True)[: NAMES_SHOWN + 1])
        if names:
            shown = ", ".join(f"“{name}”" for name in names[:NAMES_SHOWN])
            more = " and others" if len(names) > NAMES_SHOWN else ""
            raise InUse(f"“{row}” is used by {shown}{more}. Give these integrations another one first.")
        follow_change(row, "deleted", actor=actor, now=now)
        row.delete()


def free_name(row: EscalationPolicy | ResponsePlay) -> str:
    """Return “Copy of NAME”, with a number where that is taken."""
    taken = {
        name.lower()
        for name in type(row).objects.filter(organization_id=row.organization_id).values_list("name", flat=True)
    }
    candidates: Iterator[str] = (
        f"Copy of {row.name}"[:190] + (f" ({number})" if number > 1 else "") for number in count(1)
    )
    return next(name for name in candidates if name.lower() not in taken)


def _offer(policy: EscalationPolicy, offers: Offers | None) -> None:
    if offers is None:
        return
    try:
        policy.withheld = withholding(offers, before=policy.withheld)
    except KeyError as error:
        raise FieldError("offers", f"There is no channel {error}.") from error
    except ValueError as error:
        raise FieldError("offers", f"No message offers “{error}”.") from error


def _check(policy: EscalationPolicy, roles: Sequence[RoleRule]) -> None:
    policy.name = clean_name(policy.name)
    if not roles:
        raise FieldError("roles", "Choose at least one role to be told.", code="required")
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
    PolicyRole.objects.bulk_create(_role(policy, rule) for rule in in_order)


def _role(policy: EscalationPolicy, rule: RoleRule) -> PolicyRole:
    return PolicyRole(policy=policy, **asdict(rule) | {"contact_labels": list(rule.contact_labels)})
