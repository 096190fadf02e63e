"""What beat and pings ring for."""

from celery import shared_task

from heartbeat_project.kernel import clock
from integrations.services import coverage_watch, daily_lists, history
from integrations.services.recoveries import close_recovered as close_recovered_alerts
from integrations.services.tick import tick


@shared_task(name="integrations.detect_misses", queue="engine", expires=5)
def detect_misses(**_: object) -> None:
    """Run the heartbeats' tick; a lost or doubled one changes nothing."""
    tick(now=clock.now())


@shared_task(name="integrations.close_recovered", queue="engine", expires=60)
def close_recovered(*, integration_ids: list[int], **_: object) -> None:
    """Close the alerts of these heartbeats at once; the tick would do it within a second."""
    close_recovered_alerts(now=clock.now(), integration_ids=integration_ids)


@shared_task(name="integrations.keep_history", queue="engine", expires=600)
def keep_history(**_: object) -> None:
    """Keep the ping history in shape: partitions ahead, hours counted, old days dropped."""
    history.keep_history(now=clock.now())


@shared_task(name="integrations.send_daily_lists", queue="engine", expires=60)
def send_daily_lists(**_: object) -> None:
    """Mail the day's list of heartbeats that are silent without an alert; each day once."""
    daily_lists.send_daily_lists(now=clock.now())


@shared_task(name="integrations.watch_coverage", queue="delivery", expires=60)
def watch_coverage(**_: object) -> None:
    """Look for coverage gaps where that is due, and write the mails about them.

    Not among the engine's tasks: a look at many heartbeats takes seconds, and the engine has two threads.
    """
    coverage_watch.watch_coverage(now=clock.now())
