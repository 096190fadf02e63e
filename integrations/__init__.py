"""What comes in: inbound integrations, pings, deadlines, misses and recoveries."""
