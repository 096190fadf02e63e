"""The management API of escalation."""
