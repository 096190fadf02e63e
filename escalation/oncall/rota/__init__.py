"""Pure rules of the rota: shifts and rotations in local time, who covers whom, and who is on call."""
