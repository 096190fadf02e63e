"""Who is on call (pure): shifts and rotations by the clock on the wall, and who stands in for whom."""
