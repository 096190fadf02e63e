"""The console: the web pages that people on call work with."""
