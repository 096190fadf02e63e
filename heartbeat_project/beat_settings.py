"""The settings of beat's own process: those of Heartbeat, but of all apps only the schedule's."""

from heartbeat_project.settings import *  # noqa: F403 - all of them but one

INSTALLED_APPS = ["django_celery_beat"]
