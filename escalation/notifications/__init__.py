"""The outbox: claims due notifications, checks them again, sends them, and records and follows up their outcomes."""
