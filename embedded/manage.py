"""Runs a management command on an instance's own database, which is started for it unless the server is running."""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence

from embedded import postgres, valkey
from embedded.disk_errors import explain
from embedded.folders import DataFolder, FolderInUse, locked, open_data_folder
from embedded.options import PROJECT, read_options
from embedded.process import EmbeddedError
from embedded.stack import environment
from embedded.testing import leave_on_signals, run_beside, running

# Commands that a developer runs in a new clone. Only these may create a database: any other command that does not find
# the instance's data would write into an empty one.
DEVELOPING = frozenset(
    {"check", "dbshell", "lintmigrations", "makemigrations", "migrate", "shell", "showmigrations", "sqlmigrate"}
)


def main(arguments: Sequence[str]) -> int:
    """Run `manage.py` with these arguments and return its exit code."""
    leave_on_signals()
    try:
        options = read_options([])
        data = open_data_folder(options.data)
        with contextlib.ExitStack() as stack:
            is_new = not options.database_url and not postgres.locate(data).home.exists()
            may_create = bool(DEVELOPING.intersection(arguments[:1]))
            database_url = options.database_url or stack.enter_context(database(data, may_create=may_create))
            # A command needs no broker: without a wake-up, the workers find the work within a second.
            redis_url = options.redis_url or valkey.locate(data).url
            env = os.environ | environment(options, data, (database_url, redis_url))
            manage = [sys.executable, str(PROJECT / "manage.py")]
            if is_new:
                print(f"Creating an empty database in {data.path}.", file=sys.stderr)
                if code := run_beside([*manage, "migrate", "--noinput", "--verbosity", "0"], env):
                    return code
            return run_beside([*manage, *arguments], env)
    except EmbeddedError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"The command could not be run. {explain(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


@contextlib.contextmanager
def database(data: DataFolder, *, may_create: bool = False) -> Iterator[str]:
    """Yield the URL of the embedded database: that of the running instance, or of one that runs within the block.

    Raises EmbeddedError if there is no database and `may_create` is false.
    """
    server = postgres.locate(data)
    if not may_create and not server.home.exists():
        raise EmbeddedError(
            f"There is no database in {data.path} yet. Start ./script/server once, "
            "or set HEARTBEAT_DATA_DIR to the folder that it uses."
        )
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(data))
        except FolderInUse:
            pass  # the instance is running, and its database with it
        else:
            stack.enter_context(running(server, data))
        yield server.url


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
