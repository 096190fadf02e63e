"""The tables of integrations, heartbeats, their history, maintenance, coverage, outages, inbound events, and usage."""

# Django finds an app's models through this module.
from integrations.models import (  # noqa: F401
    coverage,
    events,
    heartbeats,
    history,
    integrations,
    mails,
    outages,
    periods,
    usage,
    windows,
)
