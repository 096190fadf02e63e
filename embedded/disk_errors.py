"""Says what is wrong with a file or a folder, and what to do; needs only the standard library."""

import errno
from typing import Final

_ANOTHER_ACCOUNT: Final = "Run this as the account that the file belongs to, or give this account the right to it."
_SOMETHING_ELSE: Final = "Something else has the name of the file. Move it away, and try again."
_REMEDIES: Final = {
    errno.ENOSPC: "Make room on its disk, and try again.",
    errno.EDQUOT: "Make room for the account that runs this, and try again.",
    errno.EROFS: "Make its disk writable, or set HEARTBEAT_DATA_DIR to a folder on another one.",
    errno.EACCES: _ANOTHER_ACCOUNT,
    errno.EPERM: _ANOTHER_ACCOUNT,
    errno.ENOENT: "It was moved or deleted. Put it back, and try again.",
    errno.EISDIR: _SOMETHING_ELSE,
    errno.ENOTDIR: _SOMETHING_ELSE,
    errno.ELOOP: _SOMETHING_ELSE,
    errno.EMFILE: "Allow this account more open files (ulimit -n), and try again.",
    errno.EIO: "Look for a broken disk in the log of the system.",
}


def explain(error: OSError) -> str:
    """Return what is wrong and what to do, as sentences."""
    place = f"{error.filename}: " if error.filename else ""
    sentences = (f"{place}{error.strerror or error}.", _REMEDIES.get(error.errno or 0, ""))
    return " ".join(filter(None, sentences))
