"""The Python part of the project's commands."""
