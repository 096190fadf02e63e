"""The commands of the project; what they share lies here."""
