"""Let users opt out of the notifications about an integration, and in again."""

from datetime import datetime

from accounts.models.users import OptOut, User


def opt_out(user: User, *, integration_id: int, now: datetime) -> None:
    """Stop notifying the user about the integration. The caller has checked that they may see it."""
    OptOut.objects.bulk_create(
        [OptOut(user=user, integration_id=integration_id, created_at=now)], ignore_conflicts=True
    )


def opt_in(user: User, *, integration_id: int) -> None:
    """Notify the user about the integration again."""
    user.opt_outs.filter(integration_id=integration_id).delete()
