"""`manage.py restore FILE`: restore a backup into an empty database; nothing is judged or sent until it is released."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from embedded.folders import write_private
from embedded.process import owner_of
from heartbeat_project.backups.archive import BadBackup, Reader
from heartbeat_project.backups.load import NotRestored, restore_backup
from heartbeat_project.kernel import clock

OTHER_KEY = (
    "The backup was made with another SECRET_KEY: links in mails and sessions would not work. Print the backup's key "
    "with --print-secret-key, and set SECRET_KEY to it or add it to SECRET_KEY_FALLBACKS."
)

CONFIRM = "--replace deletes the existing installation. Type the word replace to continue: "


class Command(BaseCommand):
    help = "Restore a backup into an empty database, and hold the installation until it is released."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="path of the backup")
        parser.add_argument("--replace", action="store_true", help="delete the existing installation")
        parser.add_argument("--print-secret-key", action="store_true", help="only print the backup's secret key")
        parser.add_argument("--secret-key-file", type=Path, help="write the backup's secret key into this file")

    def handle(
        self,
        *_: Any,
        file: Path,
        replace: bool,
        print_secret_key: bool,
        secret_key_file: Path | None,
        **__: Any,
    ) -> None:
        try:
            backup = Reader(file)
            if print_secret_key:
                self.stdout.write(backup.secret_key)
                return
            accepted_keys = {settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS}
            if secret_key_file is None and backup.secret_key not in accepted_keys:
                raise CommandError(OTHER_KEY)

            if replace and sys.stdin.isatty() and input(CONFIRM) != "replace":
                raise CommandError("Nothing was restored.")
            with _secret_key_in(secret_key_file, key=backup.secret_key) as keep_secret_key:
                restore_backup(backup, replace=replace, before_the_swap=keep_secret_key, now=clock.now(), say=self._say)
        except (BadBackup, NotRestored) as error:
            raise CommandError(f"Nothing was restored. {error}") from error
        except (Error, OSError) as error:
            raise CommandError(f"Nothing was restored. {str(error).splitlines()[0]}") from error
        rows = sum(table.rows for table in backup.manifest.tables)
        self.stdout.write(
            f"Restored {rows:,} rows as they were at {backup.manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC.\n"
            "The installation is held: when started, it stores pings, but judges no deadlines and notifies nobody. "
            "Release it on any page of the console or with `script/server --release`."
        )

    def _say(self, step: str) -> None:
        self.stdout.write(step)
        self.stdout.flush()


@contextlib.contextmanager
def _secret_key_in(path: Path | None, *, key: str) -> Iterator[Callable[[], None]]:
    """Yield a function that writes the key to the file; if the block fails afterwards, the former key is written back.

    The former key is always kept in a second file as well: if the process is killed at the commit and that fails, the
    former installation needs it.
    """
    former_key = ""

    def write_key() -> None:
        nonlocal former_key
        if path is None:
            return
        with contextlib.suppress(FileNotFoundError):
            former_key = path.read_text().strip()
        if former_key and former_key != key:
            write_private(path.with_name(f"{path.name}.before-restore"), f"{former_key}\n", owner_of(path.parent))
        write_private(path, f"{key}\n", owner_of(path.parent))

    try:
        yield write_key
    except Exception:
        if path is not None and former_key:
            write_private(path, f"{former_key}\n", owner_of(path.parent))
        raise
