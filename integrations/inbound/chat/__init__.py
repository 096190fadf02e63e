"""Chat: what people write and press in Slack, Mattermost and others, and what is written there about their alerts."""
