"""What a change does to who is notified: asked where something is changed, answered by the app that knows them all."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Consequence:
    """A code for programs, and a sentence for people."""

    code: str
    detail: str


class Unconfirmed(Exception):
    """A change that was rolled back because nobody has confirmed what it brings."""

    def __init__(self, found: Sequence[Consequence]) -> None:
        super().__init__(" ".join(one.detail for one in found))
        self.found = found


class Question(Protocol):
    """What the answering app is called with before a change; what it returns is called after the change."""

    def __call__(self, things: Sequence[object], *, actor: Any, now: datetime) -> Callable[[], list[Consequence]]:
        """Take down how the things stand that are about to change."""


_answerer: list[Question] = []


def answer_with(question: Question) -> None:
    """Register who answers; once, when Django starts."""
    _answerer[:] = [question]


@contextmanager
def consequences(things: Iterable[object], *, actor: Any, now: datetime) -> Iterator[list[Consequence]]:
    """Fill the list that is given with what the change within the block brought, once it is over.

    `things` are the rows that change, or whose rows do. Within a transaction that is rolled back afterwards this
    foretells what a change would bring.
    """
    found: list[Consequence] = []
    after = [ask(list(things), actor=actor, now=now) for ask in _answerer]
    yield found
    for answer in after:
        found += answer()


def seal(found: Iterable[Consequence]) -> str:
    """Return what stands for these consequences where somebody confirms them, and for no others."""
    return hashlib.sha256("\n".join(one.detail for one in found).encode()).hexdigest()


def confirm(found: Sequence[Consequence], *, confirmed: str) -> None:
    """Raise Unconfirmed unless `confirmed` is the seal of what was found, or nothing was."""
    if found and confirmed != seal(found):
        raise Unconfirmed(found)
