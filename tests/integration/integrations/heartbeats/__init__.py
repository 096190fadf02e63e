"""What silence means."""
