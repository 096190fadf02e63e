"""Celery's command, `python -m heartbeat_project.celery_command -A ...`, without its interactive shell.

Nobody types into a worker, and the library of the shell takes 6 MiB in each process.
"""

import sys
from types import ModuleType

from celery.__main__ import main

if __name__ == "__main__":
    shell = ModuleType("click_repl")
    shell.register_repl = lambda _: None  # type: ignore[attr-defined]
    sys.modules["click_repl"] = shell
    sys.exit(main())
