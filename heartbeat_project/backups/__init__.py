"""Backups: the whole installation in one file, written while it runs, and restored into an empty database."""
