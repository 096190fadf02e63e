"""What the pages' templates may say."""
