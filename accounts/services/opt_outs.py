"""Opting out: a person who does not want to be told about one integration."""

from datetime import datetime

from accounts.models import OptOut, User


def opt_out(user: User, *, integration_id: int, now: datetime) -> None:
    """Have the user told nothing more about the integration; the caller has checked that they may see it."""
    OptOut.objects.bulk_create(
        [OptOut(user=user, integration_id=integration_id, created_at=now)], ignore_conflicts=True
    )


def opt_in(user: User, *, integration_id: int) -> None:
    """Have the user told about the integration again."""
    user.opt_outs.filter(integration_id=integration_id).delete()
