"""Entries of the audit log that no trigger can write, and the deletion of old entries."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.db import connection, transaction

from accounts.models.audit import AuditEntry
from accounts.models.organizations import Organization
from accounts.models.users import User
from heartbeat_project.kernel.audit import Actor, current_actor

# What neither a request nor a command did, but a process of ours by itself.
WORKER: Final = Actor(via="worker")
NAME_LENGTH: Final = 300  # characters; the width of the column


def record_audit(
    *,
    organization: int | None,
    action: str,
    object_type: str,
    object_id: int | None = None,
    object_name: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    actor: User | None = None,
    via: str = "",
) -> None:
    """Write one entry about an action that is no change of a configured row, such as an export or a sign-in.

    `action` is a participle: “exported”, “signed_in”. `before` and `after` are JSON and must not contain secrets. Who
    acts, over what and from where is that of the present request or command; `actor` and `via` are for actions of
    somebody who is not signed in, such as a response by SMS.
    """
    known = current_actor() or WORKER
    AuditEntry.objects.create(
        organization_id=organization,
        actor_id=known.user if actor is None else actor.pk,
        actor_name=known.name if actor is None else str(actor),
        via=via or known.via,
        address=known.address,
        object_type=object_type,
        object_id=object_id,
        object_name=object_name[:NAME_LENGTH],
        action=action,
        before=before,
        after=after,
    )


def record_audit_everywhere(*, action: str, object_type: str, after: Mapping[str, Any] | None = None) -> None:
    """Write an entry about the whole installation, such as a restore, into the log of each organization."""
    for organization in Organization.objects.order_by("pk").values_list("pk", flat=True):
        record_audit(organization=organization, action=action, object_type=object_type, after=after)


def record_sign_in(email: str, *, succeeded: bool) -> None:
    """Write that somebody signed in with this address, or was refused.

    An address that nobody has is noted in the log of the only organization. Where there are several, no log shows it:
    it may be somebody's of another one.
    """
    user = User.objects.filter(email=email.strip().lower()).first()
    only = Organization.objects.order_by("pk").values_list("pk", flat=True)[:2]
    record_audit(
        organization=user.organization_id if user else only[0] if len(only) == 1 else None,
        action="signed_in" if succeeded else "sign_in_refused",
        object_type="user",
        object_id=user.pk if user else None,
        # Some people type their password here, which has no @.
        object_name=str(user) if user else email.strip() if "@" in email else "",
        actor=user if succeeded else None,
    )


def delete_old_entries(*, before: datetime) -> int:
    """Delete the entries from before a time, and return their number.

    Nothing else can delete entries: a trigger refuses it unless this setting is on, and another trigger then writes
    into each log that became shorter who did it, and of what time the entries were.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('heartbeat.audit_retention', 'on', TRUE)")
        cursor.execute("DELETE FROM accounts_auditentry WHERE at < %s", [before])
        deleted = int(cursor.rowcount)
        # The setting would otherwise last until the end of a transaction around this one.
        cursor.execute("SELECT set_config('heartbeat.audit_retention', '', TRUE)")
    return deleted
