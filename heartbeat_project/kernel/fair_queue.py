"""A queue in which sources take turns, for work that only a few threads of a process may do at once (pure)."""

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import contextmanager

# One name, or names from wide to narrow. Sources within a wider source share the turns of that one.
Source = str | tuple[str, ...]


class Full(Exception):
    """No turn came in time, or too many threads wait already."""


class Ticket:
    """One waiting thread. The event `came` is set when its turn has come or when it has to leave."""

    __slots__ = ("came", "has_to_leave", "source")

    def __init__(self, source: Source) -> None:
        self.source = (source,) if isinstance(source, str) else source
        self.came = threading.Event()
        self.has_to_leave = False

    def leave(self) -> None:
        """Make the thread give up."""
        self.has_to_leave = True
        self.came.set()


class _Share:
    """A node of the tree of waiting tickets: it holds the shares of narrower sources or, in a leaf, tickets.

    `number` counts all tickets below it. A source's own tickets hang under the key None, so that a source may have
    tickets of its own and narrower sources at once.
    """

    __slots__ = ("number", "tickets", "within")

    def __init__(self) -> None:
        self.number = 0
        self.within: OrderedDict[str | None, _Share] = OrderedDict()
        self.tickets: dict[Ticket, None] = {}


class Waiting:
    """Tickets by source. The caller holds a lock."""

    def __init__(self) -> None:
        self._all = _Share()

    def __len__(self) -> int:
        return self._all.number

    def of(self, ticket: Ticket) -> int:
        """Return how many tickets wait that have exactly this ticket's source."""
        share: _Share | None = self._all
        for name in (*ticket.source, None):
            share = share.within.get(name) if share else None
        return share.number if share else 0

    def add(self, ticket: Ticket) -> None:
        """Put a ticket behind the others of its source, and a new source behind its siblings."""
        share = self._all
        share.number += 1
        for name in (*ticket.source, None):
            share = share.within.setdefault(name, _Share())
            share.number += 1
        share.tickets[ticket] = None

    def remove(self, ticket: Ticket) -> None:
        """Remove a ticket, and the shares that become empty."""
        share = self._all
        share.number -= 1
        for name in (*ticket.source, None):
            inner = share.within[name]
            inner.number -= 1
            if not inner.number:
                del share.within[name]
            share = inner
        del share.tickets[ticket]

    def take_next(self, *, but: Collection[tuple[str, ...]] = ()) -> Ticket | None:
        """Remove and return the oldest ticket of the source whose turn it is; each source on its path moves back.

        Tickets of the sources in `but`, and of those within them, stay. Returns None if there are no others.
        """
        path = _path_to_next(self._all, (), but)
        if path is None:
            return None
        share = self._all
        for name in path:
            share.within.move_to_end(name)
            share = share.within[name]
        ticket = next(iter(share.tickets))
        self.remove(ticket)
        return ticket

    def take_from_most(self) -> Ticket:
        """Remove and return the newest ticket of the source that has most tickets, judged from wide to narrow."""
        share = self._all
        while share.within:
            # Of equals, max() takes the first: reversed, that is the source that came last.
            share = max(reversed(share.within.values()), key=lambda inner: inner.number)
        ticket = next(reversed(share.tickets))
        self.remove(ticket)
        return ticket


def _path_to_next(share: _Share, source: tuple[str, ...], but: Collection[tuple[str, ...]]) -> list[str | None] | None:
    """Return the names that lead from a share to the leaf whose turn it is, or None if `but` has all of its sources."""
    if source in but:
        return None
    if not share.within:
        return [] if share.tickets else None
    for name, inner in share.within.items():
        path = _path_to_next(inner, source if name is None else (*source, name), but)
        if path is not None:
            return [name, *path]
    return None


class FairQueue:
    """At most `max_turns` threads have a turn at once; the others wait, and their sources take turns.

    A source that asks a hundred times therefore delays only itself. `per_source` and `in_all` limit the number of
    waiting threads; if there are more, the newest thread of the source that has most of them has to leave.
    """

    def __init__(self, max_turns: int, *, in_all: int, per_source: int | None = None) -> None:
        self.max_turns = max_turns
        self.per_source = in_all if per_source is None else per_source
        self.in_all = in_all
        self._lock = threading.Lock()
        self._free = max_turns
        self._waiting = Waiting()

    @contextmanager
    def turn(self, source: Source, *, seconds: float) -> Iterator[None]:
        """Wait for a turn, for at most `seconds`, and keep it until the block ends. Raises Full."""
        ticket = self._ask(source)
        if ticket is not None:
            if not ticket.came.wait(seconds):
                self._give_up(ticket)
            if ticket.has_to_leave:
                raise Full
        try:
            yield
        finally:
            self._pass_on()

    @property
    def waiting(self) -> int:
        """How many wait at this moment."""
        return len(self._waiting)

    @property
    def is_taken(self) -> bool:
        """Whether a thread that asks at this moment would have to wait."""
        return not self._free

    def _ask(self, source: Source) -> Ticket | None:
        """Take a free place and return None, or return a ticket to wait for."""
        with self._lock:
            if self._free:
                self._free -= 1
                return None
            ticket = Ticket(source)
            join(self._waiting, ticket, per_source=self.per_source, in_all=self.in_all)
            return ticket

    def _give_up(self, ticket: Ticket) -> None:
        """Leave the queue, unless the turn came after the wait timed out."""
        with self._lock:
            if not ticket.came.is_set():
                self._waiting.remove(ticket)
                ticket.leave()

    def _pass_on(self) -> None:
        """Give the place to the source whose turn it is, or free it."""
        with self._lock:
            ticket = self._waiting.take_next()
            if ticket is None:
                self._free += 1
            else:
                ticket.came.set()


class Pauses:
    """Threads that are made to wait for a while; their number is limited for each source and in all.

    If too many wait, the newest thread of the source that has most of them has to leave: its request is refused.
    """

    def __init__(self, *, in_all: int) -> None:
        self.in_all = in_all
        self._lock = threading.Lock()
        self._waiting = Waiting()

    @property
    def waiting(self) -> int:
        """How many wait at this moment."""
        return len(self._waiting)

    def pause(self, source: Source, *, seconds: float, per_source: int) -> None:
        """Wait for `seconds`. Raises Full if too many threads wait, or as soon as this one has to leave."""
        ticket = Ticket(source)
        with self._lock:
            join(self._waiting, ticket, per_source=per_source, in_all=self.in_all)
        ticket.came.wait(seconds)
        with self._lock:
            if ticket.has_to_leave:
                raise Full
            self._waiting.remove(ticket)


def join(waiting: Waiting, ticket: Ticket, *, per_source: int, in_all: int) -> None:
    """Add a ticket; if that makes too many, one of them has to leave. Raises Full if it is this one."""
    if waiting.of(ticket) >= per_source:
        raise Full
    waiting.add(ticket)
    if len(waiting) > in_all:
        leaver = waiting.take_from_most()
        leaver.leave()
        if leaver is ticket:
            raise Full
