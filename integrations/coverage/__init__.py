"""Which integrations would reach nobody, now or within 14 days, and how a change would alter that."""
