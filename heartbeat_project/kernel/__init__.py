"""Code that every app may use and that imports no app: the clock, errors, SQL files, ids, and common API rules."""
