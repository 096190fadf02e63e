"""The addresses by which others reach this installation, as HEARTBEAT_BASE_URL says."""

from django.conf import settings


def origin() -> str:
    """Return scheme, host and port of HEARTBEAT_BASE_URL."""
    base_url: str = settings.BASE_URL
    return base_url.removesuffix(settings.BASE_PATH)


def public_url(path: str) -> str:
    """Return the URL of `request.path` or `request.get_full_path()`, which begin with the path of HEARTBEAT_BASE_URL.

    A path that does not, such as a literal one, follows `settings.BASE_URL` instead.
    """
    return origin() + path
