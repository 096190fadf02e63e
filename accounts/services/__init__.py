"""What changes organizations, users, groups, contact methods, API keys and roles: one module for each noun."""
