"""The models of alerts, their recipients and timelines, and of bridges."""

# Django finds an app's models through this module.
from alerting.models import alerts, bridges  # noqa: F401
