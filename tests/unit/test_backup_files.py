"""A backup file is whole and right, or it is refused; a half-written one has no name that anybody takes for a backup."""

import contextlib
import errno
import io
import random
import stat
from datetime import UTC, datetime

import pytest

from heartbeat_project.backups.archive import BadBackup, Manifest, Reader, Table, Writer, new_file
from heartbeat_project.management.commands.restore import _secret_key_in

ROWS = [f"{number}\tname {number * 7919 % 1000}\\N\n".encode() for number in range(20_000)]
MANIFEST = Manifest(
    taken_at=datetime(2026, 3, 2, 12, tzinfo=UTC),
    migrations=[("accounts", "0001_initial")],
    tables=[Table(name="accounts_user", columns=["id", "name"], rows=len(ROWS)), Table(name="empty", columns=["id"], rows=0)],
    sequences={"accounts_user_id_seq": 7},
)  # fmt: skip


def written() -> bytes:
    stream = io.BytesIO()
    writer = Writer(stream)
    writer.table("accounts_user", ROWS)
    writer.table("empty", [])
    writer.finish(MANIFEST, secret_key="the key")
    return stream.getvalue()


def read(path):
    """Return all that the file holds, after checking it."""
    reader = Reader(path)
    reader.check()
    return reader.manifest, reader.secret_key, b"".join(reader.chunks("accounts_user"))


@pytest.fixture(scope="module")
def whole() -> bytes:
    return written()


def test_what_was_written_is_read(tmp_path, whole):
    path = tmp_path / "backup"
    path.write_bytes(whole)
    assert read(path) == (MANIFEST, "the key", b"".join(ROWS))


def test_a_file_that_is_cut_short_anywhere_is_refused(tmp_path, whole):
    path = tmp_path / "backup"
    for length in [0, 1, 100, len(whole) // 2, len(whole) - 1, *random.Random(1).sample(range(len(whole)), 30)]:
        path.write_bytes(whole[:length])
        with pytest.raises(BadBackup):
            read(path)


def test_a_file_with_a_wrong_byte_is_refused_or_says_the_same(tmp_path, whole):
    path, chosen, refused = tmp_path / "backup", random.Random(2), 0
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[chosen.randrange(len(damaged))] ^= 1 << chosen.randrange(8)
        path.write_bytes(damaged)
        try:
            assert read(path) == (MANIFEST, "the key", b"".join(ROWS))
        except BadBackup:
            refused += 1
    assert refused > 190, "what says the same is wrong in a time or a name that nothing reads"


def test_what_is_no_backup_is_refused_with_one_sentence(tmp_path):
    path = tmp_path / "backup"
    path.write_text("-- PostgreSQL database dump\n")
    with pytest.raises(BadBackup, match="is not a complete backup: it was cut short or is another file"):
        Reader(path)
    with pytest.raises(BadBackup, match="cannot be read: No such file or directory"):
        Reader(tmp_path / "none")


def test_a_newer_format_is_refused(tmp_path):
    with pytest.raises(BadBackup, match="made by a newer version"):
        Manifest.load(MANIFEST.dump().replace('"format": 1', '"format": 2').encode())


def test_the_file_is_its_owners_alone_and_has_its_name_only_when_it_is_whole(tmp_path):
    path = tmp_path / "backup"
    with new_file(path) as stream:
        stream.write(b"half")
        stream.flush()
        assert not path.exists()
    assert path.read_bytes() == b"half"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_earlier_backup_and_no_half_one(tmp_path):
    path = tmp_path / "backup"
    path.write_bytes(b"yesterday's")

    def fill():
        with new_file(path) as stream:
            stream.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        fill()
    assert path.read_bytes() == b"yesterday's"
    assert list(tmp_path.iterdir()) == [path]


def test_a_restore_that_fails_in_the_end_leaves_the_secret_key_of_what_is_there(tmp_path):
    path = tmp_path / "secret_key"
    path.write_text("former\n")
    with contextlib.suppress(OSError), _secret_key_in(path, key="of the backup") as keep:
        keep()
        assert path.read_text() == "of the backup\n"
        raise OSError("the database went away")
    assert path.read_text() == "former\n"
    assert path.with_name("secret_key.before-restore").read_text() == "former\n", "for a kill at that moment"
