"""iCalendar: read shifts from calendars of other tools, and publish on-call periods as feeds."""
