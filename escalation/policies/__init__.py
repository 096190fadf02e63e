"""The rules: policies, plays, the shipped policies, copies, and what an edit means for escalations that run."""
