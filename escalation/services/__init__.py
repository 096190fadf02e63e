"""What changes policies, plays, runs and notifications."""
