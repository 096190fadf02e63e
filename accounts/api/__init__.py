"""The management API of accounts."""
