"""The alert, its states and its timeline, and the bridge that travels with it."""
