"""The composition: settings, URLs, processes and the console; it knows every app, and no app knows it."""
