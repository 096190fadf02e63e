"""What the beat does once a second for heartbeats, in the order that makes it right."""

from datetime import datetime

from integrations.services.misses import detect_misses
from integrations.services.outages import move_deadlines
from integrations.services.paging_tests import end_tests
from integrations.services.recoveries import close_recovered
from integrations.services.windows import suspend_heartbeats


def tick(*, now: datetime) -> int:
    """Make the present true and return how many alerts were opened.

    First what takes silences away (maintenance, our own outages, pings that came back), then what is left is a miss.
    Any number of these may run at once.
    """
    # Maintenance first: a window that ended while we were deaf arms its timers inside the outage, which moves them on.
    suspend_heartbeats(now=now)
    move_deadlines(now=now)
    close_recovered(now=now)
    opened = detect_misses(now=now)
    end_tests(now=now)
    return opened
