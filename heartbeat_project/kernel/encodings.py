"""Keeps Python from caching the names of unknown encodings that clients send."""

import codecs
import encodings
from typing import Final

# Characters. The longest name that Python knows has 15; aliases have a few more.
LONGEST_NAME: Final = 64


def keep_no_unknown_names() -> None:
    """Make this process forget the names of unknown encodings. Call it once, before requests are read.

    Python caches every name that it was ever asked for, so that requests whose Content-Type names a new encoding of
    60 KB each would fill the memory.
    """
    codecs.unregister(encodings.search_function)
    codecs.register(_search)


def _search(name: str) -> codecs.CodecInfo | None:
    if len(name) > LONGEST_NAME:
        return None
    codec = encodings.search_function(name)
    if codec is None:
        vars(encodings)["_cache"].pop(name, None)
    return codec
