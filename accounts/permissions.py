"""The one function that decides whether a user holds an entitlement."""

from accounts.entitlements import Entitlement

_ADMIN_PAGES = (
    Entitlement.INBOUND_INTEGRATIONS,
    Entitlement.RULES_VIEW,
    Entitlement.GROUPS_VIEW_ALL,
    Entitlement.BRIDGES,
    Entitlement.SECURITY,
)


def may(user: object, entitlement: Entitlement) -> bool:
    """Return whether `user` is active and holds `entitlement`; an anonymous user holds none."""
    has_perm = getattr(user, "has_perm", None)
    return bool(has_perm and has_perm(f"accounts.{entitlement.value}"))


def may_enter_admin(user: object) -> bool:
    """Return whether `user` may see at least one page of the admin."""
    return any(may(user, entitlement) for entitlement in _ADMIN_PAGES)
