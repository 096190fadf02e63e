"""A second database on the tests' server, which takes the place of the test's own for a while."""

import contextlib
import os
from collections.abc import Iterator

import psycopg
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper


def parameters(connection: BaseDatabaseWrapper) -> dict[str, object]:
    """Return psycopg's parameters for a connection of its own to the same database."""
    left_out = {"pool", "cursor_factory", "context"}
    return {name: value for name, value in connection.get_connection_params().items() if name not in left_out}


@contextlib.contextmanager
def second_database(name: str) -> Iterator[BaseDatabaseWrapper]:
    """Make an empty database the default connection of this thread within the block, and drop it afterwards."""
    ours = connections["default"]
    settings = {**ours.settings_dict, "NAME": f"{name}_{os.getpid()}", "OPTIONS": dict(ours.settings_dict["OPTIONS"])}
    settings["OPTIONS"].pop("pool")
    settings["OPTIONS"]["options"] = "-c synchronous_commit=off"
    with psycopg.connect(**parameters(ours), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {settings['NAME']} WITH (FORCE)")
        admin.execute(f"CREATE DATABASE {settings['NAME']} TEMPLATE template0")
        connections["default"] = type(ours)(settings, "default")
        try:
            yield connections["default"]
        finally:
            connections["default"].close()
            connections["default"] = ours
            admin.execute(f"DROP DATABASE {settings['NAME']} WITH (FORCE)")
