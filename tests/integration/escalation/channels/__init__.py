"""Transports, and what stands around them: breakers, limits, receipts."""
