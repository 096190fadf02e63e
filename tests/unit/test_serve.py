"""How the web server is run: how many connections it takes, and for how long each may say nothing."""

import resource

import pytest

from heartbeat_project import serve
from heartbeat_project.kernel import connections


@pytest.mark.parametrize(
    ("files", "most"),
    [(100, 64), (1_024, 824), (20_000, 19_800), (1_048_576, 20_000), (resource.RLIM_INFINITY, 20_000)],
)
def test_the_number_of_connections_follows_the_limit_of_open_files(files, most, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))

    assert connections.max_connections() == most
    said = serve.command([])
    assert said[said.index("--backpressure") + 1] == str(most)


def test_the_limit_of_open_files_is_raised_as_far_as_it_may_be(monkeypatch):
    set_to = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 4_096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: set_to.append(limits))

    connections.raise_file_limit()

    assert set_to == [(4_096, 4_096)]


@pytest.mark.parametrize(("installed", "loop"), [(object(), "uvloop"), (None, "asyncio")])
def test_the_event_loop_is_uvloop_where_it_is_installed(monkeypatch, installed, loop):
    monkeypatch.setattr(serve, "find_spec", {"uvloop": installed}.get)

    said = serve.command([])

    assert said[said.index("--loop") + 1] == loop


def test_a_connection_has_35_seconds_to_say_what_it_wants_and_what_is_given_wins():
    said = serve.command(["--workers", "2"])

    assert said[said.index("--http") + 1] == "1"  # of the others no time is taken
    assert said[said.index("--http1-header-read-timeout") + 1] == "35000"
    assert said.index("2") > said.index("--workers")
    assert said[-1] == "heartbeat_project.asgi:application"
