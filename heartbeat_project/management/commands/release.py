"""`manage.py release`: let a restored installation judge deadlines and notify people again."""

from typing import Any

from django.core.management.base import BaseCommand

from heartbeat_project.kernel import clock
from integrations.upkeep.release import release


class Command(BaseCommand):
    help = "Release an installation that is held since a restore: deadlines are judged and people are notified again."

    def handle(self, *_: Any, **__: Any) -> None:
        restore = release(by=None, now=clock.now())
        if restore is None:
            self.stdout.write("The installation is not held. Nothing was changed.")
            return
        self.stdout.write(
            "Released: deadlines are judged and people are notified again. The time since the backup of "
            f"{restore.taken_at:%Y-%m-%d %H:%M:%S} UTC counts as an outage."
        )
