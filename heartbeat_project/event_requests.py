"""Makes requests that bring an event readable for Django, which would answer 400 to some of them.

An event is never refused for its content: its Content-Type may be long or name any encoding, and its query may have
any characters. The view gets the Content-Type under a name that Django does not look for.
"""

import re
from itertools import islice
from typing import Final

from integrations.inbound.event import RAW_TYPE
from integrations.ping_lane.lane import Scope

_PATHS: Final = "/postalert/"
# Parameters that Django reads; it refuses more.
MAX_PARAMETERS: Final = 1_000
MAX_TYPE_BYTES: Final = 1_000
_NO_ASCII: Final = re.compile(rb"[\x80-\xff]")
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_RAW_TYPE: Final = RAW_TYPE.encode()


def is_event(scope: Scope) -> bool:
    """Return whether a request is one for the address of an API integration."""
    return is_event_path(scope["path"])


def is_event_path(path: str) -> bool:
    """Return whether a path leads to API integrations; it has no path of the base URL in front."""
    return path[: len(_PATHS)].lower() == _PATHS


def readable(scope: Scope) -> Scope:
    """Return the scope without NUL, with few parameters, and with its Content-Type under another name."""
    headers = [(name, value) for name, value in scope["headers"] if name not in {b"content-type", _RAW_TYPE}]
    types = [value for name, value in scope["headers"] if name == b"content-type"]
    headers += [(_RAW_TYPE, value[:MAX_TYPE_BYTES]) for value in types[:1]]
    return {
        **scope,
        "path": scope["path"].replace("\0", _REPLACEMENT),
        "query_string": _readable_query(scope["query_string"]),
        "headers": headers,
    }


def _readable_query(query: bytes) -> bytes:
    query = _NO_ASCII.sub(lambda byte: b"%%%02X" % ord(byte[0]), query).replace(b"%00", b"%EF%BF%BD")
    if query.count(b"&") < MAX_PARAMETERS:
        return query
    return b"&".join(islice(filter(None, query.split(b"&")), MAX_PARAMETERS))
