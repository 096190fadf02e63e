"""What a web process knows of the sockets on which it listens."""

import contextlib
import socket
import sys

import pytest

from integrations.ping_lane import own_address
from integrations.ping_lane.own_address import ListeningSockets, _descriptors


def listening():
    found = socket.create_server(("127.0.0.1", 0))
    return contextlib.closing(found)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how many wait")
def test_a_socket_that_is_no_more_is_not_asked(monkeypatch):
    # Other tests' servers may listen in this process, too.
    others = {number for number in _descriptors() if own_address._accepts_at(number) is not None}
    monkeypatch.setattr(own_address, "_descriptors", lambda: [*{*_descriptors()} - others])
    listeners = ListeningSockets()
    with listening():
        assert not listeners.turn_away()
    assert not listeners.turn_away()
    with listening() as found:
        assert not listeners.turn_away()
        assert found.fileno() in listeners._numbers


def test_looking_for_a_socket_among_other_open_files_leaves_none_behind(tmp_path):
    with (tmp_path / "file").open("wb"), listening():
        before = len(_descriptors())
        for _ in range(3):
            ListeningSockets().turn_away()
        assert len(_descriptors()) == before
