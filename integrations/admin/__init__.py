"""Integrations: inbound integrations and maintenance windows."""

from integrations.admin.inbound import InboundIntegrationAdmin
from integrations.admin.windows import MaintenanceWindowAdmin

__all__ = ["InboundIntegrationAdmin", "MaintenanceWindowAdmin"]
