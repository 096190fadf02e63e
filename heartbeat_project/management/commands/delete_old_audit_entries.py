"""`manage.py delete_old_audit_entries --older-than-days N`: shorten the audit log, which notes it."""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.services.audit import delete_old_entries
from heartbeat_project.kernel import clock

MAX_DAYS = 36_500


class Command(BaseCommand):
    help = "Delete old entries of the audit log of every organization, and note in each log that it was done."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--older-than-days", type=int, required=True, help="the age of the entries, in days")

    def handle(self, *_: Any, older_than_days: int, **__: Any) -> None:
        if not 1 <= older_than_days <= MAX_DAYS:
            raise CommandError(f"--older-than-days must be a number from 1 to {MAX_DAYS}.")
        deleted = delete_old_entries(before=clock.now() - timedelta(days=older_than_days))
        self.stdout.write(f"Deleted {deleted:,} entries of the audit log that were older than {older_than_days} days.")
