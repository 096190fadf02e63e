"""The one permission function."""

from typing import TYPE_CHECKING

from accounts.entitlements import BUILTIN_ENTITLEMENTS, BuiltinRole, Entitlement

if TYPE_CHECKING:
    from accounts.models import User

_ADMIN_PAGES = (
    Entitlement.INBOUND_INTEGRATIONS,
    Entitlement.RULES_VIEW,
    Entitlement.GROUPS_VIEW_ALL,
    Entitlement.BRIDGES,
    Entitlement.SECURITY,
)


def entitlements_of(user: "User") -> frozenset[str]:
    """Return the codes that the user holds: the union of their roles, and the Owner's for the Owner.

    Read once per user object, so that a request asks the database once.
    """
    cached: frozenset[str] | None = getattr(user, "_entitlements", None)
    if cached is None:
        codes = {code for role in user.roles.all() for code in role.entitlements}
        if user.is_owner:
            codes |= BUILTIN_ENTITLEMENTS[BuiltinRole.OWNER]
        cached = frozenset(codes)
        user._entitlements = cached  # type: ignore[attr-defined]  # noqa: SLF001 - a cache that lives with the object
    return cached


def forget_entitlements(user: "User") -> None:
    """Make the next question about this user object read its roles again, because they have changed."""
    user.__dict__.pop("_entitlements", None)
    user.__dict__.get("_prefetched_objects_cache", {}).pop("roles", None)


def may(user: object, entitlement: Entitlement) -> bool:
    """Answer whether `user` (also an anonymous one) is active and holds `entitlement`."""
    has_perm = getattr(user, "has_perm", None)
    return bool(has_perm and has_perm(f"accounts.{entitlement.value}"))


def may_enter_admin(user: "User") -> bool:
    """Answer whether one of the admin's pages is open to `user`."""
    return any(may(user, entitlement) for entitlement in _ADMIN_PAGES)
