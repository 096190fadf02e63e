"""Maintenance windows: which heartbeats they cover, and what happens when they begin and end."""
