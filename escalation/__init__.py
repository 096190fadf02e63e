"""Who is told, when, over what: policies, plays, runs, notifications and channels."""
