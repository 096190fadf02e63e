"""What integrations of all types have in common when they are created, changed, rotated and deleted."""
