"""API views that need several apps: alerts with their escalation, groups and users with who is on call."""
