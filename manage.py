"""Run Django's management commands."""

import logging
import os
import sys
from collections.abc import Sequence

from django.core.management import execute_from_command_line

from heartbeat_project.configuration import one_sentence
from heartbeat_project.kernel.audit import Actor, acting


def main(arguments: Sequence[str]) -> None:
    """Run the command; what it changes is in the audit log as changed by a command."""
    with acting(lambda: Actor(via="command")):
        execute_from_command_line(list(arguments))


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "heartbeat_project.settings")
    # It warns of each try; what is wrong is said once.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    with one_sentence():
        main(sys.argv)
