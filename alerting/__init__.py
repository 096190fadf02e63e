"""Alerts with their states and timelines, and the conference bridges that messages about them name."""
