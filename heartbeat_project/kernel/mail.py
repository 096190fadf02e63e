"""Answers whether this installation sends mail or only stores it."""

from typing import Final

from django.conf import settings

STORED: Final = "Stored, not sent: no mail server is set up"


def mail_is_stored() -> bool:
    """Return whether mail is only stored, because no EMAIL_URL is set."""
    return bool(settings.EMAIL_BACKEND == settings.STORED_MAIL_BACKEND)
