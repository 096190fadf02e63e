"""Create, find and revoke API keys, and record their use."""

from datetime import datetime

from django.db.models import Q

from accounts.models.access import ApiKey
from accounts.models.users import User
from accounts.services.saving import clean_name
from accounts.services.users import check_may_change
from heartbeat_project.kernel.ids import digest, new_token

_PREFIX_LENGTH = 10  # characters of a key that the pages show


def create_api_key(user: User, *, name: str, now: datetime, key: str | None = None) -> tuple[ApiKey, str]:
    """Create a key with all rights of `user`; return the row and the key, which is not stored.

    A new key is `hb_` and 192 random bits. Only the installer passes a `key` of its own.
    """
    secret = key or f"hb_{new_token()}"
    # At most a third of the key, because an operator may choose a short one.
    prefix = secret[: min(_PREFIX_LENGTH, len(secret) // 3)]
    row = ApiKey.objects.create(
        user=user,
        name=clean_name(name, max_length=100),
        prefix=prefix,
        key_hash=digest(secret),
        created_at=now,
    )
    return row, secret


def find_key(secret: str) -> ApiKey | None:
    """Return the key with its user, organization and roles if it is not revoked and its user is active."""
    return (
        ApiKey.objects.filter(key_hash=digest(secret), revoked_at=None, user__is_active=True)
        .select_related("user__organization")
        .prefetch_related("user__roles")
        .first()
    )


def note_use(key: ApiKey, *, now: datetime) -> None:
    """Store the minute of the last use; further requests in the same minute write nothing."""
    minute = now.replace(second=0, microsecond=0)
    if key.last_used_at is not None and key.last_used_at >= minute:
        return
    earlier = Q(last_used_at=None) | Q(last_used_at__lt=minute)
    ApiKey.objects.filter(earlier, pk=key.pk).update(last_used_at=minute)


def revoke_api_key(key: ApiKey, *, actor: User, now: datetime) -> None:
    """Revoke the key; its row stays. If it was revoked before, nothing changes.

    Raises Forbidden unless the key is the actor's own or the actor may change its user.
    """
    if key.user_id != actor.pk:
        check_may_change(key.user, actor=actor)
    ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=now)
