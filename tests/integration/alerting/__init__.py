"""The alert and its timeline, on PostgreSQL."""
