"""The management API of integrations."""
