"""The entitlements that a user holds, cached on the user object."""

from accounts.entitlements import BUILTIN_ENTITLEMENTS, BuiltinRole
from accounts.models.users import User


def entitlements_of(user: "User") -> frozenset[str]:
    """Return the codes that the user holds: those of all their roles, and the Owner role's if they are the Owner.

    The result is cached on the user object, so that a request asks the database once.
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
    """Drop the cache of this user object, so that the next call reads its roles again."""
    user.__dict__.pop("_entitlements", None)
    user.__dict__.get("_prefetched_objects_cache", {}).pop("roles", None)
