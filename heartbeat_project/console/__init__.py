"""Pages for people on call."""
