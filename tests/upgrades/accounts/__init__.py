"""The migrations of `accounts` and those of the next release, which start at 9001."""

from pathlib import Path

import accounts.migrations

# Django lists and imports what lies in either folder.
__path__ = [*accounts.migrations.__path__, *__path__]

LATEST = max(path.stem for path in Path(accounts.migrations.__path__[0]).glob("[0-9]*.py"))
