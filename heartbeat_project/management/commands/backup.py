"""`manage.py backup FILE`: write the whole installation into one file while it runs."""

import argparse
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from accounts.services.audit import record_audit_everywhere
from heartbeat_project.backups.archive import Manifest, new_file
from heartbeat_project.backups.dump import write_backup
from heartbeat_project.backups.tables import current_schema, installed
from heartbeat_project.kernel import clock


class Command(BaseCommand):
    help = "Write the whole installation, including its secret key, into one file. The installation may keep running."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.formatter_class = argparse.HelpFormatter
        parser.add_argument("file", help="path of the backup; an existing file is replaced; - is standard output")

    def handle(self, *_: Any, file: str, **__: Any) -> None:
        try:
            if not installed(current_schema()):
                raise CommandError(
                    "There is no installation in this database, so no backup was made. Check DATABASE_URL and "
                    "HEARTBEAT_DATA_DIR."
                )
            if file == "-":
                write_backup(sys.stdout.buffer, now=clock.now())
                sys.stdout.buffer.flush()
                self._record()
                return
            path = Path(file)
            with new_file(path) as stream:
                manifest = write_backup(stream, now=clock.now())
            self._record()
        except OSError as error:
            raise CommandError(f"The backup could not be written to {file}: {error.strerror}.") from error
        except Error as error:
            raise CommandError(f"The backup could not be made: {str(error).splitlines()[0]}") from error
        self.stdout.write(_summary(path, manifest))

    def _record(self) -> None:
        """Note in the audit logs that a backup was made; it is made even if that cannot be noted."""
        try:
            record_audit_everywhere(action="backed_up", object_type="installation")
        except Error as error:
            self.stderr.write(f"The backup was made, but not noted in the audit log: {str(error).splitlines()[0]}")


def _summary(path: Path, manifest: Manifest) -> str:
    rows = sum(table.rows for table in manifest.tables)
    size = path.stat().st_size / 1e6
    return (
        f"{path}: {rows:,} rows of {len(manifest.tables)} tables as they were at "
        f"{manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC, {size:,.1f} MB.\n"
        "The file contains the secret key and everybody's addresses. Keep it where only you can read it."
    )
