"""The configuration pages."""
