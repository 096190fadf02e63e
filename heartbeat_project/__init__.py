"""The composition: settings, URLs, processes and the console; it may import every app, and no app imports it."""
