"""Create, change and delete custom roles; the seven built-in ones are fixed."""

from collections.abc import Iterable

from django.db import transaction

from accounts.entitlements import Entitlement
from accounts.models.organizations import Organization
from accounts.models.users import Role, User
from accounts.permissions import may
from accounts.services.saving import clean_name, unique
from heartbeat_project.kernel.errors import DomainError, FieldError, Forbidden


class RoleFixed(DomainError):
    """A built-in role cannot be changed or deleted."""

    code = "builtin_role"
    title = "A built-in role cannot be changed"


class RoleInUse(DomainError):
    """A role that users hold cannot be deleted."""

    code = "in_use"
    title = "Still in use"


def create_role(organization: Organization, *, actor: User, name: str, entitlements: Iterable[str]) -> Role:
    """Create a custom role. Raises FieldError, Forbidden."""
    _check_actor(actor, organization.pk)
    role = Role(organization=organization, name=clean_name(name, max_length=100), entitlements=_codes(entitlements))
    _save(role)
    return role


def update_role(
    role: Role,
    *,
    actor: User,
    name: str | None = None,
    entitlements: Iterable[str] | None = None,
) -> Role:
    """Change a custom role; its holders have the new rights at once. Raises FieldError, Forbidden, RoleFixed."""
    _check_actor(actor, role.organization_id)
    _refuse_builtin(role)
    if name is not None:
        role.name = clean_name(name, max_length=100)
    if entitlements is not None:
        role.entitlements = _codes(entitlements)
    _save(role)
    return role


def delete_role(role: Role, *, actor: User) -> None:
    """Delete a custom role that nobody holds. Raises Forbidden, RoleFixed, RoleInUse."""
    _check_actor(actor, role.organization_id)
    _refuse_builtin(role)
    with transaction.atomic():
        # The lock makes others who assign the role wait until it is deleted.
        Role.objects.select_for_update().filter(pk=role.pk).first()
        holders = list(role.users.values_list("name", flat=True)[:6])
        if holders:
            raise RoleInUse(f"Users hold this role: {_list_names(holders)}. Take it from them first.")
        role.delete()


def _list_names(names: list[str]) -> str:
    return ", ".join(names[:5]) + (" and others" if len(names) > 5 else "")


def _check_actor(actor: User, organization_id: int) -> None:
    if actor.organization_id != organization_id or not may(actor, Entitlement.SECURITY):
        raise Forbidden("Only users who administer security can change roles.")


def _refuse_builtin(role: Role) -> None:
    if role.builtin:
        raise RoleFixed(f"“{role.name}” is a built-in role. Make a custom role instead.")


def _codes(entitlements: Iterable[str]) -> list[str]:
    """Return the codes without duplicates, in the order of their definition."""
    codes = set(entitlements)
    if unknown := codes - {code.value for code in Entitlement}:
        raise FieldError("entitlements", f"There is no entitlement named {', '.join(sorted(unknown))}.")
    return [code.value for code in Entitlement if code.value in codes]


def _save(role: Role) -> None:
    with unique("role_name_unique", field="name", message=f"There is already a role named “{role.name}”."):
        role.save()
