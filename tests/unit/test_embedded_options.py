"""What `script/server` understands from its arguments, the environment and an env file."""

import socket
from pathlib import Path

import pytest

from heartbeat_project.embedded import options
from heartbeat_project.embedded.options import check_port, read_env_file, read_options
from heartbeat_project.embedded.process import EmbeddedError, base_env


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch, tmp_path):
    for name in ("HEARTBEAT_HOST", "HEARTBEAT_PORT", "HEARTBEAT_BASE_URL", "DATABASE_URL", "REDIS_URL", "SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HEARTBEAT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(options, "PROJECT", tmp_path)


def test_without_any_variable_it_is_the_embedded_stack_on_port_8000():
    found = read_options([])

    assert (found.host, found.port, found.base_url) == ("127.0.0.1", 8000, "http://127.0.0.1:8000")
    assert (found.database_url, found.redis_url, found.demo) == ("", "", False)


def test_the_environment_wins_over_the_env_file(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text(
        "HEARTBEAT_PORT=8001\nEMAIL_URL='smtp://127.0.0.1:2525'\n# SECRET_KEY=x\nREDIS_URL=\n"
    )
    monkeypatch.setenv("HEARTBEAT_PORT", "8002")

    found = read_options(["--demo"])

    assert (found.port, found.demo, found.redis_url) == (8002, True, "")
    assert found.given["EMAIL_URL"] == "smtp://127.0.0.1:2525"


def test_an_empty_variable_counts_as_not_given(monkeypatch):
    monkeypatch.setenv("HEARTBEAT_PORT", "")
    monkeypatch.setenv("DATABASE_URL", "")

    assert read_options([]).port == 8000
    assert read_options([]).database_url == ""
    assert "HEARTBEAT_PORT" not in base_env()


@pytest.mark.parametrize("port", ["0", "65536", "eighty", "-1", "8000 "])
def test_a_port_that_cannot_be_meant_is_refused(monkeypatch, port):
    monkeypatch.setenv("HEARTBEAT_PORT", port)

    with pytest.raises(EmbeddedError, match="HEARTBEAT_PORT must be a number"):
        read_options([])


@pytest.mark.parametrize("address", ["heartbeat.example.org", "ftp://heartbeat.example.org", "https://"])
def test_a_base_address_that_is_none_is_refused(monkeypatch, address):
    monkeypatch.setenv("HEARTBEAT_BASE_URL", address)

    with pytest.raises(EmbeddedError, match="HEARTBEAT_BASE_URL must be an address"):
        read_options([])


def test_listening_everywhere_gives_an_address_that_others_can_use(monkeypatch):
    monkeypatch.setenv("HEARTBEAT_HOST", "0.0.0.0")

    found = read_options([])

    assert found.base_url == f"http://{socket.gethostname()}:8000"
    assert found.probe == ("127.0.0.1", 8000)


def test_an_ipv6_host_stands_in_brackets(monkeypatch):
    monkeypatch.setenv("HEARTBEAT_HOST", "::1")

    assert read_options([]).base_url == "http://[::1]:8000"


def test_a_taken_port_is_named_and_a_free_one_is_fine():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]

        with pytest.raises(EmbeddedError, match=f"port {port}: the port is taken"):
            check_port("127.0.0.1", port)

    check_port("127.0.0.1", port)


def test_a_missing_env_file_gives_nothing(tmp_path):
    assert read_env_file(tmp_path / "none") == {}


def test_the_example_sets_nothing_by_itself():
    example = Path(__file__).parents[2] / ".env.example"

    assert read_env_file(example) == {}
