"""What is kept of the keys of an integration's events besides their alerts: read and written for many at once.

The caller holds a transaction and the lock of the integration's EventState.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from heartbeat_project.kernel.prepared import fetch_prepared
from heartbeat_project.kernel.sql import statement
from integrations.models.events import EventKey


class KeptKeys:
    """The kept keys of one integration, as they are after what was changed here; `save` stores the changes."""

    def __init__(self, integration_id: int, *, now: datetime) -> None:
        self._integration_id, self._now = integration_id, now
        self._kept: dict[str, EventKey | None] = {}
        self._changed: dict[str, EventKey] = {}

    def load(self, keys: Iterable[str]) -> None:
        """Read those of the keys that were not read yet, in one query."""
        unknown = [key for key in keys if key not in self._kept]
        if not unknown:
            return
        self._kept.update(dict.fromkeys(unknown))
        parameters = {"integration": self._integration_id, "keys": unknown}
        for key, *values in fetch_prepared(statement("integrations", "read_keys"), parameters):
            closed_at, waiting, waiting_since, due_at, changed_at = values
            self._kept[key] = EventKey(
                integration_id=self._integration_id,
                key_hash=key,
                closed_at=closed_at,
                waiting=waiting and json.loads(waiting),
                waiting_since=json.loads(waiting_since),
                due_at=due_at,
                changed_at=changed_at,
            )

    def get(self, key: str) -> EventKey | None:
        """Return what is kept of a key that was loaded; None if nothing is."""
        return self._kept[key]

    def change(self, key: str, **values: Any) -> None:
        """Change what is kept of a key that was loaded."""
        kept = self._kept[key] or EventKey(integration_id=self._integration_id, key_hash=key)
        for name, value in values.items():
            setattr(kept, name, value)
        kept.changed_at = self._now
        self._kept[key] = self._changed[key] = kept

    def save(self) -> None:
        """Store what was changed, in one statement."""
        if self._changed:
            EventKey.objects.bulk_create(
                list(self._changed.values()),
                update_conflicts=True,
                unique_fields=["integration", "key_hash"],
                update_fields=["changed_at", "closed_at", "waiting", "waiting_since", "due_at"],
            )
            self._changed = {}
