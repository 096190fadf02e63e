"""The detection tick: what an engine worker does once a second for heartbeats, in an order that matters."""

from datetime import datetime

from accounts.services.restores import unless_held
from integrations.heartbeats.clock_steps import move_back
from integrations.heartbeats.detection import detect_misses
from integrations.heartbeats.outage_mails import mail_recipients
from integrations.heartbeats.outages import move_deadlines
from integrations.heartbeats.paging_tests import end_tests
from integrations.heartbeats.recoveries import close_recovered
from integrations.maintenance.windows import suspend_heartbeats


@unless_held(0, logs=True)
def tick(*, now: datetime) -> int:
    """Run one detection tick; return the number of alerts opened.

    First come the reasons for which a silence does not count: maintenance, our own outages, pings that came back. The
    deadlines that are still due are misses. Any number of ticks may run at once.
    """
    # Before all else: after a step of the clock, deadlines are not judged until all of them are by the new time.
    if not move_back(now=now):
        return 0
    # Before outages: a window that ended during an outage arms its timers inside it, and the outage moves these on.
    suspend_heartbeats(now=now)
    move_deadlines(now=now)
    close_recovered(now=now)
    opened = detect_misses(now=now)
    end_tests(now=now)
    mail_recipients(now=now)
    return opened
