"""Regular expressions of users: RE2, which takes a time that is linear in the text, with bounds on top."""

from functools import lru_cache
from time import thread_time_ns
from typing import Any, Final

import re2

from integrations.inbound.work import Work

LENGTH_LIMIT: Final = 500
# Instructions of the compiled program.
PROGRAM_LIMIT: Final = 4_000
# Bytes for the states of one pattern. If they do not suffice, RE2 takes its slower way.
_MEMORY: Final = 1 << 18
# Units up to which a search is not timed.
_CHEAP: Final = 10_000


class PatternError(ValueError):
    """A regular expression cannot be used; the text says why, for people."""


class Pattern:
    """A compiled regular expression."""

    __slots__ = ("_regexp", "size")

    def __init__(self, regexp: Any) -> None:
        self._regexp = regexp
        self.size: int = regexp.programsize

    def is_in(self, text: str, work: Work) -> bool:
        """Return whether a part of the text matches. Raises OutOfWorkError."""
        return self._search(text, work) is not None

    def part_of(self, text: str, work: Work) -> str | None:
        """Return the first match's first group, or all of it if the pattern has no group; None without a match.

        Raises OutOfWorkError.
        """
        match = self._search(text, work)
        if match is None:
            return None
        part: str | None = match.group(1 if self._regexp.groups else 0)
        return part

    def _search(self, text: str, work: Work) -> Any:
        """Return the first match. RE2 is quick, or takes a step for each byte and instruction: the time says which."""
        most = 100 + len(text.encode("utf-8", "replace")) * self.size * 4 // 5
        if most <= _CHEAP:
            work.spend(most)
            return self._regexp.search(text)
        work.reserve(most)
        start = thread_time_ns()
        match = self._regexp.search(text)
        work.spend(100 + (thread_time_ns() - start) // 10)
        return match


@lru_cache(maxsize=256)
def compile_pattern(text: str, *, is_capturing: bool = False) -> Pattern:
    """Return the compiled pattern, from a cache if it was compiled before. Raises PatternError."""
    if not isinstance(text, str) or not text:
        raise PatternError("A regular expression must be a text that is not empty.")
    if len(text) > LENGTH_LIMIT:
        raise PatternError(f"A regular expression has at most {LENGTH_LIMIT} characters, this one has {len(text)}.")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    options.never_capture = not is_capturing
    try:
        pattern = Pattern(re2.compile(text, options))
    except (re2.error, ValueError) as error:
        raise PatternError(f"The regular expression “{text[:60]}” cannot be read: {_reason(error)}.") from error
    if pattern.size > PROGRAM_LIMIT:
        raise PatternError(f"The regular expression “{text[:60]}” is too complex: use fewer or smaller repetitions.")
    return pattern


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else ""
    reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
    if reason.startswith(("invalid perl operator", "invalid escape sequence")):
        return f"{reason} (RE2 has no look-around and no back-references)"
    return reason
