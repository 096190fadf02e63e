"""What silence means: deadlines, misses, recoveries, our own outages, and the log and history of each heartbeat."""
