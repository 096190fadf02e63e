"""How runs start and go on."""
