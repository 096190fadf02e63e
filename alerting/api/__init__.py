"""The management API of alerting."""
