"""The API of escalation."""
