"""The doorbell: wake a worker now instead of at the next tick; losing a ring costs seconds, never work."""

import logging
import time
from typing import Any, Final

from celery import current_app
from django.db import transaction
from kombu import Connection
from kombu.pools import producers

log = logging.getLogger(__name__)

# After a failed ring nobody rings for so long: a broker that is away must not slow down every ping and every tick.
QUIET_SECONDS: Final = 5.0
EXPIRES_SECONDS: Final = 30
_quiet_until = 0.0


def ring(task_name: str, /, *, queue: str, **kwargs: Any) -> None:
    """Send the task by name once the current transaction has committed; never raise, whatever the broker does.

    The message is thrown away when no worker took it within 30 seconds: by then a tick has done the work.
    """
    transaction.on_commit(lambda: _send(task_name, queue=queue, kwargs=kwargs), robust=True)


def ring_now(task_name: str, /, *, queue: str, **kwargs: Any) -> None:
    """Send the task by name as `ring` does, for work that is committed already; touches no database connection."""
    _send(task_name, queue=queue, kwargs=kwargs)


def learn_to_ring() -> None:
    """Load what the first ring needs: a deadline or a recovery shall not wait for it."""
    try:
        with producers[_door()].acquire(block=True, timeout=1):
            pass
    except Exception as error:  # noqa: BLE001 - as for a ring
        log.info("the doorbell is away at the start: %s", error)


def _send(task_name: str, *, queue: str, kwargs: dict[str, Any]) -> None:
    global _quiet_until  # noqa: PLW0603 - one door for the whole process
    if time.monotonic() < _quiet_until:
        return
    try:
        with producers[_door()].acquire(block=True, timeout=1) as producer:
            options: dict[str, Any] = {"queue": queue, "expires": EXPIRES_SECONDS, "ignore_result": True}
            current_app.send_task(task_name, kwargs=kwargs, producer=producer, retry=False, **options)
    except Exception as error:  # noqa: BLE001 - a lost ring is no reason to fail what was committed
        _quiet_until = time.monotonic() + QUIET_SECONDS
        log.warning("%s was not rung for, the next tick does it: %s", task_name, error)


def _door() -> Connection:
    """Return the broker's address as the pool of producers knows it: one that fails at once instead of trying again."""
    patience = {"max_retries": 0, "socket_connect_timeout": 1, "socket_timeout": 1}
    return current_app.connection_for_write(
        transport_options={**current_app.conf.broker_transport_options, **patience},
    )
