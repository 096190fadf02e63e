"""How pings come in: the ASGI lane, group commit, the statement that records them, and the pulse."""
