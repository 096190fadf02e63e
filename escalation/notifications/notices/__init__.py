"""Messages other than pages: about recoveries, shifts, calendars and failing contact methods, and to the operator."""
