"""Who is told, on PostgreSQL."""
