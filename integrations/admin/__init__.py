"""Integrations: inbound integrations, maintenance windows, and mails that could not be read."""

from integrations.admin.inbound_events import InboundEventAdmin
from integrations.admin.integrations import InboundIntegrationAdmin
from integrations.admin.maintenance_windows import MaintenanceWindowAdmin

__all__ = ["InboundEventAdmin", "InboundIntegrationAdmin", "MaintenanceWindowAdmin"]
