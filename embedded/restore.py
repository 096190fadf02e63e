"""Restores a backup on this machine; starts only the database, which is created unless it exists."""

import contextlib
import os
import sys
from collections.abc import Sequence

from embedded import postgres, valkey
from embedded.disk_errors import explain
from embedded.folders import FolderInUse, locked, open_data_folder
from embedded.options import PROJECT, read_options
from embedded.process import EmbeddedError
from embedded.stack import environment
from embedded.testing import leave_on_signals, run_beside, running


def main(arguments: Sequence[str]) -> int:
    """Run `manage.py restore` with these arguments and return its exit code."""
    leave_on_signals()
    try:
        options = read_options([])
        data = open_data_folder(options.data)
        with contextlib.ExitStack() as stack:
            stack.enter_context(locked(data))
            database_url = options.database_url
            if not database_url:
                server = postgres.locate(data)
                stack.enter_context(running(server, data))
                database_url = server.url
            # A restore wakes up no worker, so the broker is not started.
            redis_url = options.redis_url or valkey.locate(data).url
            env = os.environ | environment(options, data, (database_url, redis_url))
            # If SECRET_KEY is set, the command only compares it with the backup's key.
            key = () if options.secret_key else ("--secret-key-file", str(data.path / "secret_key"))
            return run_beside([sys.executable, str(PROJECT / "manage.py"), "restore", *key, *arguments], env)
    except FolderInUse as error:
        print(f"Nothing was restored. {error}", file=sys.stderr)
        return 1
    except EmbeddedError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"Nothing was restored. {explain(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
