"""How escalations run: the pure walk, the plan that it follows, whom it reaches, and what each step writes."""
