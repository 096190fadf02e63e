"""Runs the product on one machine: PostgreSQL, broker, and the supervisor of all processes (imports no Django)."""
