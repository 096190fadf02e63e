"""What changes integrations and heartbeats."""
