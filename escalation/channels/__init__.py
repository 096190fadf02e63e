"""Transports: how a message goes out by e-mail, SMS, call, chat, push or webhook, and what its text is."""
