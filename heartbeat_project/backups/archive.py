"""The backup file: a zip with one member per table (COPY text), the secret key, and a manifest that is written last.

A zip has a checksum for each member and its directory at the end, so that a truncated or damaged file is recognized
before anything is restored from it. Any unzip program can read it.
"""

import contextlib
import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final

FORMAT: Final = 1
MANIFEST: Final = "heartbeat-backup.json"
SECRET_KEY: Final = "secret_key"  # noqa: S105 - a file's name
CHUNK: Final = 1 << 20  # bytes
# Higher levels take much more time for a slightly smaller file.
COMPRESSION_LEVEL: Final = 3

# The errors that the standard library raises for a damaged zip.
DAMAGED: Final = (zipfile.BadZipFile, zlib.error, KeyError, EOFError, ValueError, RuntimeError)


class BadBackup(Exception):
    """The file is not a complete backup, or this version cannot read it; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """One table in the manifest; `partition_of` and `bounds` are empty unless it is a partition."""

    name: str
    columns: list[str]
    rows: int
    partition_of: str = ""
    bounds: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """The contents of a backup: its time, the applied migrations (app, name), its tables, the last sequence values."""

    taken_at: datetime
    migrations: list[tuple[str, str]]
    tables: list[Table]
    sequences: dict[str, int]

    def dump(self) -> str:
        """Return the manifest as JSON."""
        return json.dumps(
            {"format": FORMAT, **asdict(self), "taken_at": self.taken_at.isoformat()}, ensure_ascii=False, indent=1
        )

    @classmethod
    def load(cls, text: bytes) -> "Manifest":
        """Return the manifest from JSON. Raises BadBackup if the format is unknown or the text is damaged."""
        try:
            fields: dict[str, Any] = json.loads(text)
            if fields.pop("format") != FORMAT:
                raise BadBackup("The backup was made by a newer version of Heartbeat. Restore it with that version.")
            return cls(
                taken_at=datetime.fromisoformat(fields["taken_at"]),
                migrations=[(app, name) for app, name in fields["migrations"]],
                tables=[Table(**table) for table in fields["tables"]],
                sequences=fields["sequences"],
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BadBackup("The file is damaged: its list of contents cannot be read.") from error


class _Zip(zipfile.ZipFile):
    def __del__(self) -> None:
        """Do nothing with an unfinished file: the base class would complete it, so that it looked like a backup."""


class Writer:
    """Writes a backup to a binary stream, member by member, with one chunk in memory."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._zip = _Zip(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION_LEVEL)

    def table(self, name: str, chunks: Iterable[bytes | memoryview]) -> None:
        """Write a table's rows; small chunks are joined first."""
        with self._zip.open(f"tables/{name}", "w", force_zip64=True) as member:
            buffer = bytearray()
            for chunk in chunks:
                buffer += chunk
                if len(buffer) >= CHUNK:
                    member.write(buffer)
                    buffer.clear()
            member.write(buffer)

    def finish(self, manifest: Manifest, *, secret_key: str) -> None:
        """Write the secret key and the manifest, which completes the backup."""
        self._zip.writestr(SECRET_KEY, secret_key)
        self._zip.writestr(MANIFEST, manifest.dump())
        self._zip.close()


class Reader:
    """Reads a backup. Raises BadBackup if it is not complete."""

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
            self.manifest = Manifest.load(self._zip.read(MANIFEST))
            self.secret_key = self._zip.read(SECRET_KEY).decode()
        except OSError as error:
            raise BadBackup(f"{path} cannot be read: {error.strerror}.") from error
        except DAMAGED as error:
            raise BadBackup(f"{path} is not a complete backup: it was cut short or is another file.") from error

    def check(self) -> None:
        """Read every table once and compare it with its checksum. Raises BadBackup."""
        try:
            for table in self.manifest.tables:
                for _ in self.chunks(table.name):
                    pass
        except (*DAMAGED, OSError) as error:
            raise BadBackup("The backup is damaged: its contents differ from their checksums.") from error

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield a table's rows in chunks."""
        with self._zip.open(f"tables/{name}") as member:
            while chunk := member.read(CHUNK):
                yield chunk


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file (mode 0600) that gets the name `path` only when it is complete and on the disk.

    Until then its name is `.<name>.<process id>.part` in the same folder; it is removed if anything fails.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
