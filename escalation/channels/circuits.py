"""Circuit breakers: a provider that failed again and again is left alone for a while, by every worker at once.

A provider is whoever takes messages: Twilio, the gateway, or the endpoint of one contact method. The state is a row, so
that workers agree. A healthy provider has none and costs one read for each message.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import InterfaceError, OperationalError, connection

from escalation.channels.base import DeliveryError
from escalation.models import Circuit
from escalation.services.limits import CLOCKS_DIFFER
from heartbeat_project.kernel.sql import statement

log = logging.getLogger(__name__)

LIMIT: Final = 5
PAUSE: Final = timedelta(seconds=30)
LONGEST: Final = timedelta(minutes=10)
# Failures further apart than this are not in a row; longer than the longest pause, or no pause could grow.
FORGET: Final = timedelta(minutes=20)
PROBE: Final = timedelta(seconds=30)


def through(name: str, call: Callable[[], str], *, counts: Callable[[DeliveryError], bool], now: datetime) -> str:
    """Make the call, keep how it did, and return what it returns.

    Raises what the call raises; `counts` says which DeliveryError is a failure of the provider, not of a message. While
    it is left alone there is no call, but a DeliveryError: `left_alone`, with what is left of the pause.
    """
    circuit = Circuit.objects.filter(provider=name).first()
    wait = None if circuit is None else left_alone(circuit, now=now)
    if wait is not None:
        reason = "left alone for a while, because it failed again and again."
        raise DeliveryError(reason, retry_after=wait, untried=True, left_alone=True)
    try:
        taken = call()
    except DeliveryError as error:
        if counts(error):
            _keep(lambda: record_failure(name, now=now))
        raise
    if circuit is not None:
        _keep(lambda: record_success(name))
    return taken


def _keep(write: Callable[[], None]) -> None:
    """Write down how it went; what came of the message does not depend on whether that succeeds."""
    try:
        write()
    except (OperationalError, InterfaceError):
        log.exception("how a provider did could not be written down")


def left_alone(circuit: Circuit, *, now: datetime) -> timedelta | None:
    """Return what is left of the pause; after it None, to one message, and to the others a little later."""
    open_until = circuit.open_until
    if open_until is None:
        return None
    # Further ahead than any pause: the clock was set back, and nobody is to wait for that.
    if now < open_until <= now + LONGEST + CLOCKS_DIFFER:
        return open_until - now
    # Whoever moves the moment on is the one that tries.
    same = Circuit.objects.filter(provider=circuit.provider, open_until=open_until)
    return None if same.update(open_until=now + PROBE) == 1 else PROBE


def record_success(name: str) -> None:
    """Close the circuit: a provider that works has no row."""
    Circuit.objects.filter(provider=name).delete()


def record_failure(name: str, *, now: datetime) -> None:
    """Count a failure, and leave the provider alone from the fifth in a row on."""
    parameters: dict[str, Any] = {
        "provider": name,
        "now": now,
        "forget": now - FORGET,
        "limit": LIMIT,
        "pause": PAUSE,
        "longest": LONGEST,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "count_failure"), parameters)
