"""What `script/server` understands from its arguments, the environment and an env file."""

import socket

import pytest

from embedded import options
from embedded.options import check_port, read_options
from embedded.process import EmbeddedError, base_env


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
    assert found.from_file["EMAIL_URL"] == "smtp://127.0.0.1:2525"


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


@pytest.mark.parametrize(
    "address", ["heartbeat.example.org", "ftp://heartbeat.example.org", "https://", "https://[::1", "https://a:b"]
)
def test_a_base_address_that_is_none_is_refused(monkeypatch, address):
    monkeypatch.setenv("HEARTBEAT_BASE_URL", address)

    with pytest.raises(EmbeddedError, match="HEARTBEAT_BASE_URL must be an address"):
        read_options([])


def test_a_path_in_the_base_address_is_kept_and_a_strange_one_refused(monkeypatch):
    monkeypatch.setenv("HEARTBEAT_BASE_URL", "https://example.org/team/heartbeat/")
    assert read_options([]).base_url == "https://example.org/team/heartbeat"

    monkeypatch.setenv("HEARTBEAT_BASE_URL", "https://example.org/a b")
    with pytest.raises(EmbeddedError, match="HEARTBEAT_BASE_URL may end with a path"):
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

        with pytest.raises(EmbeddedError, match=f"port {port}: another program uses the port"):
            check_port("127.0.0.1", port)

    check_port("127.0.0.1", port)


def test_what_the_environment_says_is_not_taken_from_the_env_file(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("EMAIL_URL=smtp://from-the-file\nHEARTBEAT_LOG_LEVEL=DEBUG\n")
    monkeypatch.setenv("EMAIL_URL", "smtp://from-the-environment")

    assert read_options([]).from_file == {"HEARTBEAT_LOG_LEVEL": "DEBUG"}


def test_a_key_may_lie_in_a_file(monkeypatch, tmp_path):
    (tmp_path / "key").write_text("long and secret\n")
    monkeypatch.setenv("SECRET_KEY_FILE", str(tmp_path / "key"))

    assert read_options([]).secret_key == "long and secret"


@pytest.mark.parametrize(("name", "text"), [(".env", "SECRET_KEY='open"), (".env", "SECRET_KEY_FILE=/none")])
def test_an_env_file_that_cannot_be_meant_is_refused_with_a_sentence(tmp_path, name, text):
    (tmp_path / name).write_text(text)

    with pytest.raises(EmbeddedError, match=r"must end with it|cannot be read"):
        read_options([])
