"""The five policies with which every organization starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from accounts.models.contact_methods import EMAIL_OFFICIAL, Priority
from accounts.models.groups import GroupRole
from accounts.models.organizations import Organization
from accounts.services.organizations import create_organization
from escalation.models.policies import EscalationPolicy, PolicyRole
from escalation.policies.policies import RoleRule, policy_role, with_default_reminder

_USER, _CENTRALIZED = EscalationPolicy.NotifyUsing.USER, EscalationPolicy.NotifyUsing.CENTRALIZED
_PRIMARY, _SECONDARY, _MANAGER = GroupRole.PRIMARY, GroupRole.SECONDARY, GroupRole.MANAGER


@dataclass(frozen=True, slots=True)
class _ShippedPolicy:
    """A policy as it is shipped."""

    name: str
    description: str
    priority: str
    notify_using: str
    roles: Sequence[RoleRule]


def ship_policies(organization: Organization) -> list[EscalationPolicy]:
    """Give a new organization the five shipped policies, in the order of the documentation."""
    roles = (_PRIMARY, _SECONDARY, _MANAGER)
    five, thirty = Decimal(5), Decimal(30)
    five_minutes = [
        RoleRule(_PRIMARY),
        RoleRule(_SECONDARY, wait_minutes=five),
        RoleRule(_MANAGER, wait_minutes=five),
    ]
    with_retries = [
        RoleRule(_PRIMARY, retries=5),
        RoleRule(_SECONDARY, wait_minutes=thirty, retries=5),
        RoleRule(_MANAGER, wait_minutes=thirty, retries=5),
    ]
    shipped = [
        _ShippedPolicy(
            "Escalate after 5 minutes, user preference",
            "Primary at once, Secondary after 5 minutes, Manager after 5 more; each over their own contact methods.",
            Priority.HIGH,
            _USER,
            five_minutes,
        ),
        _ShippedPolicy(
            "Escalate after 30 minutes with 5 retries, centralized",
            "Each role at once and five times more, 5 minutes apart; after 30 minutes the next role.",
            Priority.HIGH,
            _CENTRALIZED,
            with_retries,
        ),
        _ShippedPolicy(
            "All hands, all contacts",
            "Everybody at once over every contact method.",
            Priority.CRITICAL,
            _CENTRALIZED,
            [RoleRule(role) for role in roles],
        ),
        _ShippedPolicy(
            "All hands, e-mail only",
            "Everybody at once by e-mail.",
            Priority.MEDIUM,
            _CENTRALIZED,
            [RoleRule(role, contact_labels=(EMAIL_OFFICIAL,)) for role in roles],
        ),
        _ShippedPolicy(
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
                name=rule.name,
                description=rule.description,
                quick_launch=rule.priority == Priority.CRITICAL,
                notify_using=rule.notify_using,
                **with_default_reminder({"priority": rule.priority}),
            )
            for rule in shipped
        )
        role_rows: list[PolicyRole] = []
        for policy, rule in zip(policies, shipped, strict=True):
            role_rows += (policy_role(policy, role) for role in rule.roles)
        PolicyRole.objects.bulk_create(role_rows)
    return policies


def found_organization(*, name: str, now: datetime) -> Organization:
    """Create an organization with its built-in roles and the shipped policies."""
    with transaction.atomic():
        organization = create_organization(name=name, now=now)
        ship_policies(organization)
    return organization
