"""Who is notified, on PostgreSQL."""
