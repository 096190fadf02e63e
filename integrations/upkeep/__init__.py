"""The installation as a whole: its release after a restore, the deletion of old rows, and the log of its ticks."""
