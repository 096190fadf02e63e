"""The consequences of a change for who is notified.

Any app asks when it changes something; the app above them all, which knows every recipient, registers the answer.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Consequence:
    """One consequence: a code for programs and a sentence for people."""

    code: str
    detail: str


class Unconfirmed(Exception):
    """A change was rolled back because its consequences were not confirmed."""

    def __init__(self, consequences: Sequence[Consequence]) -> None:
        super().__init__(" ".join(consequence.detail for consequence in consequences))
        self.consequences = consequences


class Question(Protocol):
    """The function of the answering app. It is called before the change; the function that it returns, after it."""

    def __call__(self, things: Sequence[object], *, actor: Any, now: datetime) -> Callable[[], list[Consequence]]:
        """Record the state of `things` before they change; return a function that compares it with the new state."""


_answerer: list[Question] = []


def answer_with(question: Question) -> None:
    """Register the function that answers; call it once, when Django starts."""
    _answerer[:] = [question]


@contextmanager
def consequences(things: Iterable[object], *, actor: Any, now: datetime) -> Iterator[list[Consequence]]:
    """Yield a list that holds the consequences of the change within the block once the block has ended.

    `things` are the rows that change, or the parents of the rows that change. Within a transaction that is rolled back
    afterwards, the list previews the consequences of a change.
    """
    collected: list[Consequence] = []
    after = [ask(list(things), actor=actor, now=now) for ask in _answerer]
    yield collected
    for answer in after:
        collected += answer()


def seal(items: Iterable[Consequence]) -> str:
    """Return a digest by which a person confirms exactly these consequences."""
    return hashlib.sha256("\n".join(consequence.detail for consequence in items).encode()).hexdigest()


def confirm(items: Sequence[Consequence], *, confirmed: str) -> None:
    """Raise Unconfirmed if there are consequences and `confirmed` is not their seal."""
    if items and confirmed != seal(items):
        raise Unconfirmed(items)
