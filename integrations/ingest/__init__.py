"""How pings come in: the recording function, the listener that proves somebody was there, and the views."""
