"""The console's pages: read the clock once, ask or change one thing, show it."""
