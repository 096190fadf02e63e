"""The settings of beat's own process: those of Heartbeat, but of all apps only the schedule's."""

from heartbeat_project.settings import *  # noqa: F403 - all of them but one

INSTALLED_APPS = ["django_celery_beat"]
# One thread that asks every few seconds needs one connection, which is checked before each question, and no pool.
DATABASES["default"]["OPTIONS"].pop("pool")  # noqa: F405
DATABASES["default"]["CONN_MAX_AGE"] = None  # noqa: F405
