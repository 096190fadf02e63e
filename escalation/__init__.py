"""Who is notified, when, over what: policies, plays, runs, notifications and channels."""
