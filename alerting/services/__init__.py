"""Services that change alerts and bridges."""
