"""What the beat does once a second for heartbeats, in the order that makes it right."""

from datetime import datetime

from integrations.services.misses import detect_misses
from integrations.services.outages import move_deadlines
from integrations.services.recoveries import close_recovered
from integrations.services.windows import suspend_heartbeats


def tick(*, now: datetime) -> int:
    """Make the present true and return how many alerts were opened.

    First what takes silences away (our own outages, maintenance, pings that came back), then what is left is a miss.
    Any number of these may run at once.
    """
    move_deadlines(now=now)
    suspend_heartbeats(now=now)
    close_recovered(now=now)
    return detect_misses(now=now)
