"""Limit how often something may be tried, with counters in the database that all web processes share.

One statement counts a try and returns the count, so that of a hundred tries at once each gets another number.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from django.core import signing
from django.db import connection
from django.db.models import F

from accounts.hashers import HashingIsBusy, turn_for
from accounts.models.access import TryCount
from accounts.models.users import User
from heartbeat_project.kernel.database import release_connection
from heartbeat_project.kernel.errors import NotNow, TooManyTries
from heartbeat_project.kernel.fair_queue import Full, Pauses
from heartbeat_project.kernel.ids import digest, new_token
from heartbeat_project.kernel.proxies import Sender
from heartbeat_project.kernel.sql import statement

WITHIN: Final = timedelta(minutes=5)
# Failed sign-ins within WITHIN, from one network address. People behind one address share them, except in browsers
# that their accounts know.
TRIES_OF_PLACE: Final = 20
# The same for an IPv6 /48, which many customers have to themselves: it holds 65,536 networks of the size above.
TRIES_OF_WIDER_PLACE: Final = 200
TRIES_OF_DEVICE: Final = 10  # failed sign-ins within WITHIN, of one account from one browser that it knows
# After this many tries of an account, each further one waits SLOWER_SECONDS longer, up to SLOWEST_SECONDS.
TRIES_BEFORE_SLOWER: Final = 10
SLOWER_SECONDS: Final = 0.5
SLOWEST_SECONDS: Final = 5.0
# How many tries of one account may wait at once: from one network address, and from one that may be many people's.
PAUSES_OF_PLACE: Final = 2
PAUSES_OF_MANY: Final = 20
TRIES_OF_PASSWORD: Final = 10  # wrong current passwords of a user who sets a new one, within WITHIN

DEVICE_DAYS: Final = 400  # browsers keep no cookie for longer
_DEVICE_SALT: Final = "accounts.device"
_PAUSES: Final = Pauses(in_all=100)


class Count(NamedTuple):
    """How many tries were counted, this one included, and when the window of the counter ends."""

    tries: int
    until: datetime


def count_tries(keys: Iterable[str], *, within: timedelta, now: datetime) -> Mapping[str, Count]:
    """Count one try under each key and return the counts."""
    parameters: dict[str, Any] = {"keys": list(keys), "within": within, "now": now}
    with connection.cursor() as cursor:
        cursor.execute(statement("accounts", "count_tries"), parameters)
        return {key: Count(tries, until) for key, tries, until in cursor.fetchall()}


def forgive(keys: Iterable[str]) -> None:
    """Take one try back under each key, because it succeeded or did not take place."""
    TryCount.objects.filter(key__in=list(keys), tries__gt=0).update(tries=F("tries") - 1)


def check_tries(action: str, *, limit: int, within: timedelta, now: datetime) -> tuple[str, ...]:
    """Count a try of `action`, which names the action and its subject; return the keys for `forgive`.

    Raises TooManyTries if there were more than `limit` tries within `within`.
    """
    key = digest(action)
    count = count_tries([key], within=within, now=now)[key]
    if count.tries > limit:
        raise _too_many(count, now=now)
    return (key,)


@contextmanager
def sign_in_try(email: str, *, sender: Sender, device: str, now: datetime) -> Iterator[None]:
    """Wait for a turn to try to sign in from this sender; `device` is the cookie of the browser, or "".

    If the block ends with an error, the try was wrong and stays counted. A network address with too many wrong tries is
    refused before any hash, unless it may be shared. An account is never locked: after many tries, everybody who tries
    it from an unknown browser first waits some seconds. From a browser that the account knows, neither applies.

    Raises TooManyTries, and HashingIsBusy if no turn comes in time.
    """
    account = digest(f"account|{email.strip().lower()}")
    limits, counted_keys = _limits_of_device(device, email=email, now=now), set[str]()
    if limits:
        # The fair queue counts all browsers of an account, and all accounts of an organization, as one source: an
        # organization can create any number of accounts, and a user can sign in with any number of browsers.
        source: tuple[str, ...] = ("known", _organization_of(email), account)
    else:
        limits, source = _limits_of_place(sender), ("stranger", *sender.networks, account)
        if count := _find_exceeded(limits, now=now):
            raise _too_many(count, now=now)
        max_pauses = PAUSES_OF_PLACE if sender.is_one else PAUSES_OF_MANY
        _slow_down(account, source=source, max_pauses=max_pauses, now=now)
        counted_keys.add(account)
    try:
        with turn_for(source):
            # Counted within the turn, which few have at once. Otherwise hundreds of tries from one address that are
            # still being checked, and may be right, would count as failures.
            if limits:
                counts = count_tries(limits, within=WITHIN, now=now)
                exceeded = [counts[key] for key, limit in limits.items() if counts[key].tries > limit]
                if exceeded:
                    # These keys stay counted, so that the next tries from there are refused without a turn.
                    raise _too_many(exceeded[0], now=now)
                counted_keys |= limits.keys()
            yield
    except NotNow:
        forgive(counted_keys)
        raise
    forgive(counted_keys)


def _limits_of_device(cookie: str, *, email: str, now: datetime) -> dict[str, int]:
    """Return the limit of failures by key for a browser that the account knows; {} if it is unknown or exceeded."""
    device = known_device(cookie, email=email)
    key = digest(f"device|{device}")
    if not device or _find_exceeded({key: TRIES_OF_DEVICE - 1}, now=now):
        return {}
    return {key: TRIES_OF_DEVICE}


def _organization_of(email: str) -> str:
    """Return the id of the organization of an account, or "" if there is no such account."""
    organization_id = User.objects.filter(email=email.strip().lower()).values_list("organization_id", flat=True).first()
    return "" if organization_id is None else str(organization_id)


def _limits_of_place(sender: Sender) -> dict[str, int]:
    """Return the limits of failures by key for the networks of a sender; {} if many senders may share them."""
    if not sender.is_one:
        return {}
    limits = {digest(f"place|{' '.join(sender.networks)}"): TRIES_OF_PLACE}
    if sender.networks[-1].endswith("/64"):
        limits[digest(f"place|{' '.join(sender.networks[:-1])}")] = TRIES_OF_WIDER_PLACE
    return limits


def _find_exceeded(limits: Mapping[str, int], *, now: datetime) -> Count | None:
    """Return a count that exceeds its limit, if there is one; nothing is counted."""
    # As in count_tries.sql: a window that ends later than two windows from now began before the clock was set back.
    running = TryCount.objects.filter(key__in=list(limits), until__gt=now, until__lte=now + 2 * WITHIN)
    return next((Count(row.tries, row.until) for row in running if row.tries > limits[row.key]), None)


def _slow_down(account: str, *, source: tuple[str, ...], max_pauses: int, now: datetime) -> None:
    """Count a try of the account, and pause without a database connection if there were many.

    Raises HashingIsBusy, and takes the try back, if too many tries from the source are paused.
    """
    tries = count_tries([account], within=WITHIN, now=now)[account].tries
    seconds = min((tries - TRIES_BEFORE_SLOWER) * SLOWER_SECONDS, SLOWEST_SECONDS)
    if seconds <= 0:
        return
    release_connection()
    try:
        _PAUSES.pause(source, seconds=seconds, per_source=max_pauses)
    except Full:
        forgive([account])
        raise HashingIsBusy from None


def _too_many(count: Count, *, now: datetime) -> TooManyTries:
    seconds = max(1, round((count.until - now).total_seconds()))
    minutes = -(-seconds // 60)
    return TooManyTries(
        f"Too many tries. Try again in {minutes} minute{'s' if minutes > 1 else ''}.", retry_after=seconds
    )


def new_device(email: str) -> str:
    """Return a cookie for a browser in which a user has signed in to this account."""
    return signing.dumps([digest(email.strip().lower()), new_token()], salt=_DEVICE_SALT)


def known_device(cookie: str, *, email: str) -> str:
    """Return the id of the browser that has this cookie, or "" if it is not one of this account."""
    try:
        account, device = signing.loads(cookie, salt=_DEVICE_SALT, max_age=timedelta(days=DEVICE_DAYS))
    except (signing.BadSignature, ValueError, TypeError):
        return ""
    return str(device) if account == digest(email.strip().lower()) else ""
