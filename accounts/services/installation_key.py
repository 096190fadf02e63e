"""Check that all processes of a database use one SECRET_KEY: with another, they cannot read its links and sessions."""

from datetime import datetime
from typing import Final

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import salted_hmac

from accounts.models.installation import InstallationKey
from accounts.services.audit import record_audit_everywhere

OTHER_KEY: Final = (
    "This database belongs to an installation with another SECRET_KEY. Set SECRET_KEY to that key "
    "(if script/server made it, it is in the file secret_key of its data folder). "
    "If you changed it on purpose, add the former key to SECRET_KEY_FALLBACKS."
)
IF_LOST: Final = (
    " If the key is lost, run `./script/manage bootstrap --new-secret-key`: "
    "links in messages that were sent before stop working."
)


def check_secret_key(*, now: datetime, is_new: bool = False) -> None:
    """Store the digest of SECRET_KEY at the first start and after each change.

    With `is_new` any key is accepted. Otherwise this raises ImproperlyConfigured for another key than the stored one
    unless the stored one is in SECRET_KEY_FALLBACKS.
    """
    digest = _digest(settings.SECRET_KEY)
    row = InstallationKey.objects.select_for_update().first()
    if row is None:
        InstallationKey.objects.create(digest=digest, since=now)
    elif row.digest != digest:
        if not is_new and row.digest not in map(_digest, settings.SECRET_KEY_FALLBACKS):
            raise ImproperlyConfigured(OTHER_KEY + IF_LOST)
        row.digest, row.since = digest, now
        row.save()
        record_audit_everywhere(action="changed", object_type="secret_key")


def other_key(*, now: datetime) -> str:  # noqa: ARG001 - every check of /readyz takes it
    """Return what to do if this process uses another key than the installation, otherwise ""."""
    row = InstallationKey.objects.first()
    digests = map(_digest, (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS))
    return OTHER_KEY if row is not None and row.digest not in digests else ""


def _digest(key: str) -> str:
    return salted_hmac("accounts.installation_key", "", secret=key, algorithm="sha256").hexdigest()
