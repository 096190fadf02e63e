"""Which integrations would reach nobody."""
