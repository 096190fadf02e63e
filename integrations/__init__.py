"""Inbound integrations: pings, deadlines, misses and recoveries, maintenance, and mails that come in."""
