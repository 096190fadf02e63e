"""Celery tasks of the integrations app. Each is idempotent, may run late, and expires when nobody picks it up."""

from typing import Final

from celery import shared_task

from escalation.engine.advance import advance_escalations
from heartbeat_project.kernel import clock
from integrations.coverage import watch
from integrations.heartbeats import daily_lists, history
from integrations.heartbeats.judging_progress import judging
from integrations.heartbeats.recoveries import close_recovered as close_recovered_alerts
from integrations.heartbeats.tick import tick
from integrations.inbound import subscriptions
from integrations.inbound.chat.outbox import ChatSender, wake_sender
from integrations.inbound.chat.outbox import is_any_due as is_any_chat_message_due
from integrations.inbound.chat.threads import write_changes
from integrations.inbound.days import keep_days
from integrations.inbound.mails import Reader, is_any_due
from integrations.inbound.timers import run_due
from integrations.upkeep import retention, usage
from integrations.upkeep.engine_work import EngineWork

READER: Final = Reader(clock=clock.now)
CHAT_SENDER: Final = ChatSender(clock=clock.now)


def _judge_heartbeats() -> None:
    now = clock.now()
    with judging(now=now):
        tick(now=now)


def _look_after_events() -> None:
    now = clock.now()
    if is_any_due(now=now):
        READER.wake_up()
    run_due(now=now)
    write_changes(now=now)
    if is_any_chat_message_due(now=now):
        wake_sender()


# Each part reads the clock when it begins: the one before it may have taken seconds.
ENGINE_WORK: Final = EngineWork(
    {
        "the tick of heartbeats": _judge_heartbeats,
        "the tick of events": _look_after_events,
        "the tick of escalations": lambda: advance_escalations(now=clock.now()),
    }
)


@shared_task(name="integrations.do_engine_work", queue="engine", expires=5)
def do_engine_work(**_: object) -> None:
    """Do what is due for heartbeats, events and escalations; a lost or doubled tick changes nothing.

    One task for all three, because Celery takes longer for a message than they take in a second with nothing due.
    """
    ENGINE_WORK.tick(now=clock.now())


@shared_task(name="integrations.detect_misses", queue="engine", expires=5)
def detect_misses(**_: object) -> None:
    """Run the tick of heartbeats now: a deadline has passed."""
    _judge_heartbeats()


@shared_task(name="integrations.close_recovered", queue="engine", expires=60)
def close_recovered(*, integration_ids: list[int], **_: object) -> None:
    """Close the alerts of these heartbeats at once; without this task, the tick closes them within a second."""
    close_recovered_alerts(now=clock.now(), integration_ids=integration_ids)


@shared_task(name="integrations.keep_history", queue="engine", expires=600)
def keep_history(**_: object) -> None:
    """Maintain the ping history's partitions and hourly counts, count usage, and delete what is past its retention.

    Usage is counted before anything is deleted, because it is counted from the rows.
    """
    now = clock.now()
    history.keep_history(now=now)
    keep_days(now=now)
    usage.count_usage(now=now)
    retention.delete_what_is_old(now=now)


@shared_task(name="integrations.send_daily_lists", queue="engine", expires=60)
def send_daily_lists(**_: object) -> None:
    """Mail the day's list of heartbeats that are silent without an alert, once a day."""
    daily_lists.send_daily_lists(now=clock.now())


@shared_task(name="integrations.watch_coverage", queue="delivery", expires=60)
def watch_coverage(**_: object) -> None:
    """Look for the coverage gaps of organizations that are due, and write the mails about them.

    It runs in the delivery queue: many heartbeats take seconds, and the engine has two threads.
    """
    watch.watch_coverage(now=clock.now())


@shared_task(name="integrations.read_events", queue="engine", expires=5)
def read_events(**_: object) -> None:
    """Wake this worker's reader of inbound mails, which has a thread of its own; then do what is due between events."""
    _look_after_events()


@shared_task(name="integrations.send_chat_messages", queue="delivery", expires=5)
def send_chat_messages(**_: object) -> None:
    """Wake this worker's sender of messages to chats, which has threads of its own."""
    if is_any_chat_message_due(now=clock.now()):
        CHAT_SENDER.wake_up()


@shared_task(name="integrations.confirm_subscription", queue="delivery", expires=60)
def confirm_subscription(*, event_id: int, **_: object) -> None:
    """Confirm a subscription of Amazon SNS; a sender whose subscription is not confirmed asks again."""
    subscriptions.confirm_subscription(event_id, now=clock.now())
