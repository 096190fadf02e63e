"""Who people are: organizations, users, roles and entitlements, groups, contact methods, API keys."""
