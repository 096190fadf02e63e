"""Replies by SMS and mail: parse them within limits, and act on them."""
