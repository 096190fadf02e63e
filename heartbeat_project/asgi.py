"""The web process: one ASGI application with the ping lane in front of Django."""

import gc
import logging
import sys
from collections.abc import Callable
from typing import Final, cast

from heartbeat_project.configuration import load_settings
from heartbeat_project.kernel.encodings import keep_no_unknown_names

load_settings()
keep_no_unknown_names()

from django.core.asgi import get_asgi_application  # noqa: E402 - after load_settings, which may exit with a sentence

django_application = get_asgi_application()

from django.conf import settings  # noqa: E402 - what follows needs the app registry
from django.contrib import admin  # noqa: E402
from django.db import connection  # noqa: E402

from heartbeat_project import watch  # noqa: E402
from heartbeat_project.condition import UNNAMED_PROXY  # noqa: E402
from heartbeat_project.event_lane import EventLane  # noqa: E402
from heartbeat_project.sub_path import with_path, without_path  # noqa: E402
from heartbeat_project.whole_requests import WholeRequests  # noqa: E402
from integrations.ping_lane.committer import Committer  # noqa: E402
from integrations.ping_lane.lane import Application, PingLane  # noqa: E402
from integrations.ping_lane.own_address import ListeningSockets, OwnAddress  # noqa: E402

log = logging.getLogger(__name__)

# With the process and not with its first request, which would take longer, and so that `collect_garbage_rarely` counts.
admin.autodiscover()

# The time that a thread runs before it passes on the interpreter. A ping needs the interpreter several times, and each
# time waits behind all pages that compute: with Python's default of 5 ms, four costly pages delayed pings by a second.
SWITCH_SECONDS: Final = 0.001
# How many more containers than were freed may be made before the garbage collector looks for unreachable ones. A batch
# of a thousand pings holds 30,000, all reachable: with Python's default of 700, it was looked through dozens of times.
GC_THRESHOLD: Final = 50_000


def conninfo() -> dict[str, object]:
    """Return the connection parameters of the ping lane: Django's, without those for its pool and cursors."""
    parameters = connection.get_connection_params()
    lane_parameters = {
        name: value for name, value in parameters.items() if name not in {"pool", "cursor_factory", "context"}
    }
    # A database that hangs must not keep pings waiting forever. A statement is planned once, for batches of any size:
    # planning takes longer than a small batch, and for a large one the planner prefers to read whole tables.
    return {
        **lane_parameters,
        "application_name": "heartbeat-lane",
        "options": "-c statement_timeout=10s -c TimeZone=UTC -c plan_cache_mode=force_generic_plan",
    }


def limit_connections() -> None:
    """Set the time limits of pages and API calls in the database; call it before this process opens a connection.

    Commands, workers and the ping lane have their own limits.
    """
    options = connection.settings_dict["OPTIONS"]
    options["options"] = f"{options.get('options', '')} {settings.WEB_DATABASE_LIMITS}".strip()


def collect_garbage_rarely() -> None:
    """Leave what is loaded by now out of garbage collections, and let them be rare: each one holds up all pings."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


def begin() -> Callable[[], None]:
    """Limit this process's connections and start the watch; return a function that stops the watch."""
    limit_connections()
    collect_garbage_rarely()
    if settings.HAS_UNKNOWN_PROXY:
        log.warning(UNNAMED_PROXY)

    sys.setswitchinterval(SWITCH_SECONDS)
    return watch.start("web")


ping_lane = PingLane(
    WholeRequests(
        EventLane(with_path(cast("Application", django_application), settings.BASE_PATH)),
        max_body_bytes=settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
        cut={"/api/v1/responses/mail/"},
    ),
    Committer(conninfo(), max_waiting=settings.PING_MAX_WAITING),
    max_body_bytes=settings.PING_MAX_BODY_BYTES,
    address=OwnAddress(settings.LISTENING_ADDRESS),
    begin=begin,
    turns_away=ListeningSockets().turn_away,
    trusted_proxies=settings.TRUSTED_PROXIES,
)
application = without_path(ping_lane, settings.BASE_PATH)
