"""One module for each resource: its JSON and its routes."""
