"""Who is on call: shifts, absences, the rota that follows from them, and calendars that are read and published."""
