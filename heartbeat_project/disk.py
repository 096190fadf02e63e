"""The free space on the disk of the data folder; needs no Django, because the supervisor uses it, too."""

import shutil
from pathlib import Path
from typing import Final

# There is little space if less is free than the smaller of these two: bytes, and the fraction of the disk.
LITTLE_BYTES: Final = 1024**3
LITTLE_PART: Final = 0.05
# Two segments of PostgreSQL's write-ahead log: with less space, writes may fail.
FULL_BYTES: Final = 32 * 1024**2


def free_space(folder: str | Path) -> tuple[int, int] | None:
    """Return the free and the total bytes of the disk with this folder; None if there is no such folder."""
    if not folder:
        return None
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.free, usage.total


def little_room(folder: str | Path) -> str:
    """Return a warning if little space is left on the disk, else an empty text."""
    room = free_space(folder)
    if room is None or room[0] >= min(LITTLE_BYTES, LITTLE_PART * room[1]):
        return ""
    return f"Only {room[0] // 1024**2} MiB are free on the disk of {folder}. Make room: a full disk stops pings."


def no_room(folder: str | Path) -> str:
    """Return a warning if the disk is full, else an empty text."""
    room = free_space(folder)
    if room is None or room[0] >= FULL_BYTES:
        return ""
    return f"The disk of {folder} is full: {room[0] // 1024**2} MiB are left. Make room."
