"""What every app may use and what knows no app: the clock, errors, SQL files, ids, and the API's common rules."""
