"""Runs Heartbeat on one machine: PostgreSQL, the broker, and a supervisor of all processes (imports no Django)."""
