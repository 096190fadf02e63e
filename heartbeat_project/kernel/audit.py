"""Who makes a change, and from where: what the triggers of the audit log cannot know by themselves.

A request and a command say it once, with `acting`. Each of their statements that writes carries it to PostgreSQL as a
setting of its own transaction: it is set and used in one message, so it works without a transaction, too, and a
connection that returns to the pool has nothing of it left.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any, Final

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

# The setting that the triggers read, as JSON with the fields of Actor.
SETTING: Final = "heartbeat.actor"
_SET: Final = f"SELECT set_config('{SETTING}', %s, TRUE)"
_SET_BY_NAME: Final = f"SELECT set_config('{SETTING}', %(heartbeat_actor)s, TRUE)"
_WRITES: Final = ("INSERT", "UPDATE", "DELETE", "MERGE", "WITH")


@dataclass(frozen=True, kw_only=True, slots=True)
class Actor:
    """Who makes a change: a user (None: nobody is signed in), over what (`via`), and from which network address.

    `organization` is the user's; entries about an object that is gone already are written there.
    """

    via: str
    user: int | None = None
    name: str = ""
    organization: int | None = None
    address: str = ""


# Asked at each statement, because a request finds out only on its way whose it is.
_who: ContextVar[Callable[[], Actor] | None] = ContextVar("heartbeat_actor", default=None)


@contextmanager
def acting(who: Callable[[], Actor]) -> Iterator[None]:
    """Write the changes of the block into the audit log as those of `who()`."""
    token = _who.set(who)
    try:
        yield
    finally:
        _who.reset(token)


@contextmanager
def acting_for_nobody() -> Iterator[None]:
    """Let the statements of the block carry no actor: they change nothing that the audit log sees, and cost less."""
    token = _who.set(None)
    try:
        yield
    finally:
        _who.reset(token)


def current_actor() -> Actor | None:
    """Return who acts in the present block of `acting`; None outside of one, as in a worker."""
    who = _who.get()
    return None if who is None else who()


def carry_actor(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Let each statement on this new connection that writes carry the actor; a receiver of `connection_created`."""
    if _with_actor not in connection.execute_wrappers:
        # First: `execute_wrapper` of Django removes the last one.
        connection.execute_wrappers.insert(0, _with_actor)


def _with_actor(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:  # Django's protocol of execute_wrapper
    who = _who.get()
    if who is None or not str(sql).lstrip()[:6].upper().startswith(_WRITES):
        return execute(sql, params, many, context)
    setting = json.dumps(asdict(who()))
    if many:
        with transaction.atomic(using=context["connection"].alias):
            context["cursor"].cursor.execute(_SET, [setting])
            return execute(sql, params, many, context)
    if isinstance(params, dict):
        outcome = execute(f"{_SET_BY_NAME};\n{sql}", {**params, "heartbeat_actor": setting}, many, context)
    else:
        text = str(sql) if params is not None else str(sql).replace("%", "%%")
        outcome = execute(f"{_SET};\n{text}", [setting, *(params or ())], many, context)
    context["cursor"].nextset()  # from the result of the setting to that of the statement
    return outcome
