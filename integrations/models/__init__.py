"""The tables of integrations, heartbeats, their history, maintenance, coverage, outages, events, chat, and usage."""

# Django finds an app's models through this module.
from integrations.models import (  # noqa: F401
    chat,
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
