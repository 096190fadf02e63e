"""API keys: made, found, noted when used, revoked."""

from datetime import datetime

from django.db.models import Q

from accounts.models import ApiKey, User
from accounts.services.saving import clean_name
from accounts.services.users import check_may_change
from heartbeat_project.kernel.ids import digest, new_token

_VISIBLE = 10


def create_api_key(user: User, *, name: str, now: datetime, key: str | None = None) -> tuple[ApiKey, str]:
    """Create a key that can do what `user` can; return the row and the key, which is not kept and never shown again.

    `key` is given only by who installs the product; otherwise it is new: `hb_` and 192 random bits.
    """
    secret = key or f"hb_{new_token()}"
    # Of a short key that somebody chose, ten characters would be most of it.
    visible = secret[: min(_VISIBLE, len(secret) // 3)]
    row = ApiKey.objects.create(
        user=user,
        name=clean_name(name, max_length=100),
        prefix=visible,
        key_hash=digest(secret),
        created_at=now,
    )
    return row, secret


def find_key(secret: str) -> ApiKey | None:
    """Return the key if it works: not revoked, its user active; with user, organization and roles."""
    return (
        ApiKey.objects.filter(key_hash=digest(secret), revoked_at=None, user__is_active=True)
        .select_related("user__organization")
        .prefetch_related("user__roles")
        .first()
    )


def note_use(key: ApiKey, *, now: datetime) -> None:
    """Keep the minute of the last use; all further requests in that minute write nothing."""
    minute = now.replace(second=0, microsecond=0)
    if key.last_used_at is not None and key.last_used_at >= minute:
        return
    earlier = Q(last_used_at=None) | Q(last_used_at__lt=minute)
    ApiKey.objects.filter(earlier, pk=key.pk).update(last_used_at=minute)


def revoke_api_key(key: ApiKey, *, actor: User, now: datetime) -> None:
    """Make the key useless from now on; the row stays. Revoking twice keeps the first time.

    Raises Forbidden unless it is the actor's own or the actor may change its user.
    """
    if key.user_id != actor.pk:
        check_may_change(key.user, actor=actor)
    ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=now)
