"""Responses of people: read links and replies, check what is allowed, and act on alerts, for every channel alike."""
