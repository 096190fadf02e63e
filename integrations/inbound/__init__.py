"""Inbound events other than pings: they are stored as they arrived, then read by a worker."""
