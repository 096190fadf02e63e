"""The admin pages of alerting: bridges, which are all that is configured in this app."""

from alerting.admin.bridges import BridgeAdmin

__all__ = ["BridgeAdmin"]
