"""The settings of the next release."""

from heartbeat_project.settings import *  # noqa: F403
from tests.upgrades import MIGRATION_MODULES  # noqa: F401
