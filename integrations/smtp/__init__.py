"""The mail server of Heartbeat: a process that stores mails to integrations as they came; it imports no Django."""
