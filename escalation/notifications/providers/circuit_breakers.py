"""Circuit breakers: after several failures in a row no worker sends to a provider for a while.

A provider is anything that accepts messages: the mail server, one mailbox of an organization, Twilio, the gateway, or
the endpoint of one contact method. The state is a row, so that all workers agree. A healthy provider has no row and
costs one read for each message.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import InterfaceError, OperationalError, connection

from accounts.contact_kinds import PHONES
from escalation.channels.base import DeliveryError
from escalation.models.sending import CircuitBreaker
from escalation.notifications.providers.rate_limits import CLOCK_SKEW
from heartbeat_project.kernel.sql import statement

log = logging.getLogger(__name__)

# Number of failures in a row that open a circuit breaker.
LIMIT: Final = 5
# How long it stays open before one message probes the provider: short, so that a provider that is back is used soon. A
# provider with fewer failures is probed as long after the last one.
PAUSE: Final = timedelta(seconds=30)
# Failures further apart than this are not in a row.
FORGET: Final = timedelta(minutes=20)
# How long the other messages wait for the result of a probe.
PROBE: Final = timedelta(seconds=30)
# Number of providers that get a probe at a time; the others get theirs next time.
PROBES: Final = 50


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider, by the name of its row; with `address`, one address of the channel, otherwise the whole channel."""

    name: str
    channel: str = ""
    address: str = ""


Hook = Callable[..., None]
_hooks: list[Hook] = []


def on_recovery(hook: Hook) -> Hook:
    """Register a function that is called as `hook(provider, now=now)` when a provider that had failed works again."""
    _hooks.append(hook)
    return hook


def look_up(*providers: Provider) -> Mapping[str, CircuitBreaker]:
    """Return the rows of these providers by name; healthy providers have none."""
    return CircuitBreaker.objects.in_bulk([provider.name for provider in providers])


def _never(_: DeliveryError) -> bool:
    return False


def call(
    provider: Provider,
    send: Callable[[], str],
    *,
    counts: Callable[[DeliveryError], bool],
    works: Callable[[DeliveryError], bool] = _never,
    known: Mapping[str, CircuitBreaker] | None = None,
    now: datetime,
) -> str:
    """Call `send`, record whether the provider works, and return the provider's id for the message.

    `counts` says whether a DeliveryError is a failure of the provider and not only of the message. `works` says whether
    a DeliveryError proves that the provider works. `known` are the rows that the caller has just looked up.

    Raises the errors of `send`, and DeliveryError with `circuit_open` and the rest of the pause while the circuit
    breaker is open.
    """
    circuit_breaker = (look_up(provider) if known is None else known).get(provider.name)
    wait = None if circuit_breaker is None else remaining_pause(circuit_breaker, now=now)
    if wait is not None:
        reason = "Messages failed again and again, so none is sent for a while."
        raise DeliveryError(reason, retry_after=wait, untried=True, circuit_open=True)
    try:
        provider_id = send()
    except DeliveryError as error:
        if counts(error):
            _try_to_record(lambda: record_failure(provider, now=now))
        elif circuit_breaker is not None and works(error):
            _try_to_record(lambda: record_success(provider, now=now))
        raise
    if circuit_breaker is not None:
        _try_to_record(lambda: record_success(provider, now=now))
    return provider_id


def _try_to_record(write: Callable[[], None]) -> None:
    """Run the write and log a database error: the outcome of the message must not depend on it."""
    try:
        write()
    except (OperationalError, InterfaceError):
        log.exception("the state of a provider could not be recorded")


def remaining_pause(circuit_breaker: CircuitBreaker, *, now: datetime) -> timedelta | None:
    """Return the rest of the pause; None if the message may be sent.

    After the pause the breaker is half-open: one caller gets None and sends the probe, the others wait for its result.
    """
    open_until = circuit_breaker.open_until
    if open_until is None:
        return None
    # A time further ahead than any pause comes from before the clock was set back: it does not count.
    if now < open_until <= now + max(PAUSE, PROBE) + CLOCK_SKEW:
        return open_until - now
    # Half-open: the worker whose UPDATE matches sends the probe; the others wait PROBE.
    same = CircuitBreaker.objects.filter(provider=circuit_breaker.provider, open_until=open_until)
    return None if same.update(open_until=now + PROBE) == 1 else PROBE


def record_success(provider: Provider, *, now: datetime) -> None:
    """Close the circuit breaker by deleting its row; the worker that deletes it calls the hooks."""
    if CircuitBreaker.objects.filter(provider=provider.name).delete()[0]:
        for hook in _hooks:
            hook(provider, now=now)


def record_failure(provider: Provider, *, now: datetime) -> None:
    """Count a failure; from the LIMIT-th in a row on, open the circuit breaker."""
    parameters: dict[str, Any] = {
        "provider": provider.name,
        "channel": provider.channel,
        "address": provider.address,
        "now": now,
        "forget": now - FORGET,
        "limit": LIMIT,
        "pause": PAUSE,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "count_failure"), parameters)


def send_probes(*, now: datetime) -> int:
    """Make one waiting message due for each provider that last failed a PAUSE ago; return the number of messages.

    Retries wait for minutes, longer than a pause, so without a probe nothing would find out that a provider is back.
    It makes no difference whether the circuit breaker is open. An SMS or call is a probe only if no provider has got it
    yet, because few of them may be tried in an hour.
    """
    with connection.cursor() as cursor:
        parameters: dict[str, Any] = {
            "now": now,
            "forget": now - FORGET,
            "pause": PAUSE,
            "phones": sorted(PHONES),
            "limit": PROBES,
        }
        cursor.execute(statement("escalation", "send_probes"), parameters)
        return int(cursor.rowcount)
