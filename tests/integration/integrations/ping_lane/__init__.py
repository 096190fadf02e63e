"""How pings come in."""
