"""How many connections one web process accepts at once, derived from its limit of open files."""

import resource
from typing import Final

# Open files that a web process keeps for the database, the broker, outgoing requests and its own pulse.
RESERVED: Final = 200
MIN_CONNECTIONS: Final = 64
# Memory is the limit if files have none: an idle connection takes 4 KiB, one that sent half its headers up to 64 KiB.
MAX_CONNECTIONS: Final = 20_000


def raise_file_limit() -> None:
    """Raise the soft limit of open files of this process and its children to the hard limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS reports no hard limit, but refuses more than this
        resource.setrlimit(resource.RLIMIT_NOFILE, (10_240, hard))


def max_connections() -> int:
    """Return how many connections one web process accepts at once, from its limit of open files."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(MIN_CONNECTIONS, min(files - RESERVED, MAX_CONNECTIONS))
