"""Providers that speak the real wire on loopback, and answer as they are asked to."""
