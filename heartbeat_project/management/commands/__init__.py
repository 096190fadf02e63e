"""The management commands of the composition."""
