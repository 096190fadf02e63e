"""Hold a restored installation until somebody releases it: nothing is judged, and nobody is notified."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from django.conf import settings
from django.db import connection

from accounts.entitlements import Entitlement
from accounts.models.installation import Restore
from accounts.models.users import User
from accounts.permissions import may
from heartbeat_project.kernel.sql import statement

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

# A restore takes minutes. An installation that is held for longer was probably forgotten, and the operator gets a mail.
FORGOTTEN_AFTER: Final = timedelta(minutes=15)
LOGGED_EVERY: Final = timedelta(minutes=1)  # per process
HOW_TO_RELEASE: Final = "release it on any page of the console, or with `script/server --release`"

_logged_at: datetime | None = None


def held_restore() -> Restore | None:
    """Return the restore that is not released yet, if there is one."""
    return Restore.objects.filter(released_at=None).first()


def _is_held() -> bool:
    # Ticks ask several times a second, and the ORM would take longer to write the question than all else.
    with connection.cursor() as cursor:
        cursor.execute(statement("accounts", "is_held"))
        is_held: bool = cursor.fetchone()[0]
    return is_held


def held_for(*, now: datetime) -> timedelta | None:
    """Return how long the installation has been held, or None if it is not held."""
    restore = held_restore() if _is_held() else None
    return None if restore is None else max(now - restore.restored_at, timedelta())


def held_sentence(*, now: datetime) -> str:
    """Return a sentence that says since when the installation is held and how to release it; "" if it is not held."""
    restore = held_restore()
    if restore is None:
        return ""
    minutes = int((now - restore.restored_at).total_seconds() // 60)
    return (
        f"Held for {minutes} min since the restore of the backup of {restore.taken_at:%Y-%m-%d %H:%M:%S} UTC: "
        f"pings are stored, but nothing is judged and nobody is notified; {HOW_TO_RELEASE}."
    )


def forgotten(*, now: datetime) -> str:
    """Return the text of a mail to the operator if the installation has been held for too long, otherwise "".

    The mail must be sent directly over SMTP, because the outbox is held, too.
    """
    duration = held_for(now=now)
    return held_sentence(now=now) if duration is not None and duration >= FORGOTTEN_AFTER else ""


def unless_held(otherwise: R, *, logs: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator for ticks: while the installation is held, the tick does nothing and returns `otherwise`.

    With `logs`, the log says so once a minute. The check is one query over an index with at most one row.
    """

    def guarded(tick: Callable[P, R]) -> Callable[P, R]:
        @wraps(tick)
        def guard(*args: P.args, **kwargs: P.kwargs) -> R:
            if _is_held():
                if logs:
                    _log_held(now=kwargs["now"])  # type: ignore[arg-type]  # each tick has the keyword `now`
                return otherwise
            return tick(*args, **kwargs)

        return guard

    return guarded


def _log_held(*, now: datetime) -> None:
    global _logged_at  # noqa: PLW0603 - each process limits its own log
    if _logged_at is not None and timedelta() <= now - _logged_at < LOGGED_EVERY:
        return
    if sentence := held_sentence(now=now):
        _logged_at = now
        log.warning(sentence)


def hold(*, taken_at: datetime, now: datetime) -> None:
    """Hold this installation, which was restored from the backup of `taken_at`, until it is released.

    If the backup was made while its installation was held, the data already has a restore that is not released. It
    keeps its `taken_at`, so that the installation counts as held since the first backup.
    """
    if not Restore.objects.filter(released_at=None).update(restored_at=now):
        Restore.objects.create(taken_at=taken_at, restored_at=now)


def mark_released(*, by: User | None, now: datetime) -> Restore | None:
    """End the hold and return its restore, or None if it has ended. Of several calls at once, one gets the restore."""
    restore = Restore.objects.select_for_update(of=("self",)).filter(released_at=None).first()
    if restore is not None:
        restore.released_at, restore.released_by = now, by
        restore.save(update_fields=["released_at", "released_by"])
    return restore


def may_release(user: object) -> bool:
    """Return whether `user` operates this installation: the Owner of the first organization, or an administrator with
    the operator's e-mail address.

    A release affects all organizations, so the Owners of the others may not do it.
    """
    if not isinstance(user, User) or not user.is_active:
        return False
    if user.is_owner:
        first = User.objects.filter(is_owner=True, is_active=True).order_by("organization_id").first()
        if first == user:
            return True
    return user.email.lower() == settings.OPERATOR_EMAIL.lower() and may(user, Entitlement.SECURITY)
