"""Random histories: what a team, its jobs and the world do in any order, and what has to hold whatever they do."""
