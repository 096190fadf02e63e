"""What a backup holds, and what a restore refuses; a whole restore is in tests/stories/test_restored_backup.py."""

import contextlib
import io
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from accounts.models.installation import Restore
from accounts.models.organizations import Organization
from heartbeat_project.backups import load
from heartbeat_project.backups.archive import Reader, Writer
from heartbeat_project.backups.tables import current_schema, is_ours, relations
from tests import factories
from tests.restoring import back_up, everything, leftovers, restore

FULL = Path("/dev/full")
pytestmark = pytest.mark.django_db(transaction=True)


@contextlib.contextmanager
def another_connection(**parameters):
    """Give a connection of its own to the test's database."""
    wanted = ("dbname", "user", "password", "host", "port")
    given = {name: value for name, value in connection.get_connection_params().items() if name in wanted}
    with psycopg.connect(**given, autocommit=True, **parameters) as other:
        yield other


@pytest.fixture
def backup(tmp_path, now):
    factories.UserFactory()
    return back_up(tmp_path / "backup", now=now)


def test_every_table_of_ours_is_in_it_and_no_other(backup):
    held = {table.name for table in Reader(backup).manifest.tables}
    there = {relation.name for relation in relations(current_schema()) if relation.kind == "r"}
    assert held == there - {"django_migrations"}
    assert all(is_ours(name) for name in there), "another app's tables need their label in is_ours"
    assert not is_ours("wordpress_posts")


def test_it_shows_one_moment_whatever_is_committed_meanwhile(tmp_path, now, monkeypatch):
    factories.UserFactory()
    before = Organization.objects.count()
    table = Writer.table

    def commit_first(self, name, chunks):
        if name.startswith("accounts_apikey"):
            with another_connection() as other:
                other.execute("INSERT INTO accounts_organization SELECT (o).* FROM ("
                              "SELECT json_populate_record(organization, '{\"id\": 4242, \"name\": \"late\"}') AS o"
                              " FROM accounts_organization AS organization LIMIT 1) AS made")  # fmt: skip
        table(self, name, chunks)

    monkeypatch.setattr(Writer, "table", commit_first)
    path = back_up(tmp_path / "backup", now=now)
    assert Organization.objects.count() == before + 1
    held = next(table for table in Reader(path).manifest.tables if table.name == "accounts_organization")
    assert held.rows == before


def test_partitions_are_neither_made_nor_dropped_meanwhile(tmp_path, now, monkeypatch):
    tried = []

    def look(self, name, chunks):
        with another_connection() as other:
            tried.append(other.execute("SELECT pg_try_advisory_lock(hashtext('integrations.history'))").fetchone()[0])
        for _ in chunks:
            pass

    monkeypatch.setattr(Writer, "table", look)
    back_up(tmp_path / "backup", now=now)
    assert tried
    assert not any(tried)
    with another_connection() as other:
        assert other.execute("SELECT pg_try_advisory_lock(hashtext('integrations.history'))").fetchone()[0]


def refused(path, *, now, replace=False):
    """Return why the restore was refused, having changed nothing."""
    before = everything()
    with pytest.raises((load.NotRestored, load.BadBackup)) as raised:
        restore(path, now=now, replace=replace)
    assert everything() == before
    assert leftovers() == []
    assert not Restore.objects.exists()
    return str(raised.value)


def test_a_database_that_holds_an_installation_is_left_alone(backup, now):
    assert "already holds an installation" in refused(backup, now=now)


def test_a_newer_backup_is_refused(backup, now, monkeypatch):
    newer = Reader(backup)
    newer.manifest = replace(newer.manifest, migrations=[*newer.manifest.migrations, ("accounts", "9999_of_tomorrow")])
    monkeypatch.setattr("tests.restoring.Reader", lambda _: newer)
    why = refused(backup, now=now, replace=True)
    assert why.startswith("The backup was made by a newer version")
    assert "accounts 9999_of_tomorrow" in why


def test_a_damaged_backup_is_refused_before_anything_is_made(backup, now, monkeypatch):
    content = bytearray(backup.read_bytes())
    at = content.index(b"tables/accounts_user") + 40
    content[at] ^= 0x55
    backup.write_bytes(content)
    monkeypatch.setattr(load, "_beside", lambda: pytest.fail("something was made"))
    assert "damaged" in refused(backup, now=now, replace=True)


def test_a_database_on_which_heartbeat_runs_is_left_alone(backup, now):
    with another_connection(application_name="heartbeat-lane"):
        assert "Heartbeat is running on this database" in refused(backup, now=now, replace=True)


def test_two_restores_at_once_do_not_mix(backup, now):
    with another_connection() as other:
        other.execute("SELECT pg_advisory_lock(%s)", [load._LOCK])
        assert (
            refused(backup, now=now, replace=True)
            == "Another restore or migration is running on this database. Wait until it has ended."
        )


def test_what_ends_in_the_middle_leaves_what_was_there(backup, now):
    before = everything()

    def end(step):
        if step.startswith("Creating the tables"):
            raise KeyboardInterrupt

    with connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {load.BESIDE}; CREATE TABLE {load.BESIDE}.of_one_that_was_killed ()")
    with pytest.raises(KeyboardInterrupt):
        restore(backup, now=now, say=end)
    assert everything() == before
    assert leftovers() == []
    with connection.cursor() as cursor:
        cursor.execute("SHOW search_path")
        assert load.BESIDE not in cursor.fetchone()[0]


def test_the_command_writes_one_sentence_where_it_cannot_write_the_file(tmp_path):
    with pytest.raises(CommandError, match=r"could not be written to .*/nowhere/file: No such file or directory\."):
        call_command("backup", str(tmp_path / "nowhere" / "file"))


def test_a_database_without_an_installation_is_not_backed_up_over_a_good_backup(tmp_path):
    path = tmp_path / "file"
    path.write_text("good")
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA of_others; SET search_path = of_others")
        try:
            with pytest.raises(CommandError, match="no installation in this database"):
                call_command("backup", str(path))
        finally:
            cursor.execute("RESET search_path; DROP SCHEMA of_others")
    assert path.read_text() == "good"


@pytest.mark.skipif(not FULL.exists(), reason="a disk that is always full")
def test_a_full_disk_is_said_in_one_sentence(tmp_path, monkeypatch):
    @contextlib.contextmanager
    def full(_path):
        with FULL.open("wb", buffering=0) as stream:
            yield stream

    monkeypatch.setattr("heartbeat_project.management.commands.backup.new_file", full)
    with pytest.raises(CommandError, match="No space left on device"):
        call_command("backup", str(tmp_path / "file"))


def test_another_secret_key_is_refused_unless_it_is_kept(backup, settings):
    said = io.StringIO()
    call_command("restore", str(backup), "--print-secret-key", stdout=said)
    assert said.getvalue().strip() == settings.SECRET_KEY
    old, settings.SECRET_KEY = settings.SECRET_KEY, "another"
    with pytest.raises(CommandError, match="made with another SECRET_KEY"):
        call_command("restore", str(backup))
    settings.SECRET_KEY_FALLBACKS = [old]
    with pytest.raises(CommandError, match="already holds an installation"):
        call_command("restore", str(backup))
