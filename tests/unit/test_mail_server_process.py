"""The process of the mail server: its settings, a port that another program has, and what it needs while it waits."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from heartbeat_project.kernel.ids import MAIL_TOKEN_LENGTH
from integrations.inbound import mail_addresses, selectors
from integrations.smtp import config as smtp_config
from integrations.smtp.config import Config, ConfigError, listen
from tests.processes import free_port, until

ROOT = Path(__file__).resolve().parents[2]
NEEDED = {"DATABASE_URL": "postgres://x@/x"}


def start(folder, port, **more):
    env = {
        "PATH": os.environ["PATH"],
        **NEEDED,
        "HEARTBEAT_DATA_DIR": str(folder),
        "HEARTBEAT_SMTP_PORT": str(port),
        **more,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "integrations.smtp"], cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True
    )


def test_the_settings_have_their_defaults():
    config = Config.read({**NEEDED, "HEARTBEAT_BASE_URL": "https://Heartbeat.example.org/x", "SECRET_KEY": "a"})
    assert (config.host, config.port, config.domain) == ("127.0.0.1", 8025, "heartbeat.example.org")
    assert (list(config.secrets), config.fault_file) == (["a"], None)
    assert Config.read({**NEEDED, "HEARTBEAT_MAIL_DOMAIN": "Alerts.example.org"}).domain == "alerts.example.org"
    assert smtp_config.FAULT_FILE == selectors.FAULT_FILE
    assert mail_addresses.MAIL_TOKEN_LENGTH == MAIL_TOKEN_LENGTH


@pytest.mark.parametrize(
    "wrong",
    [
        {"HEARTBEAT_SMTP_PORT": "x"},
        {"HEARTBEAT_SMTP_PORT": "65536"},
        {"HEARTBEAT_SMTP_CERTIFICATE": "/x"},
        {"HEARTBEAT_SMTP_KEY": "/x"},
    ],
)
def test_a_wrong_setting_is_named(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Config.read({**NEEDED, **wrong})


def test_without_a_database_it_says_so():
    with pytest.raises(ConfigError, match="DATABASE_URL"):
        Config.read({})


def test_a_port_that_is_taken_is_said_once_and_shown(tmp_path, settings):
    settings.DATA_DIR, settings.SMTP_PORT = str(tmp_path), 8025
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = start(tmp_path, taken.getsockname()[1])
        try:
            until(selectors.mail_server_fault, seconds=20, what="the fault is noted")
            assert "cannot listen on 127.0.0.1" in selectors.mail_server_fault()
            assert process.poll() is None
        finally:
            process.terminate()
            _, said = process.communicate(timeout=20)
    assert said.count("Mails are not received") == 1


def test_it_waits_without_the_server_and_the_driver_in_memory_and_stops_when_asked(tmp_path):
    port = free_port()
    (tmp_path / smtp_config.FAULT_FILE).write_text("an old one")
    process = start(tmp_path, port)
    try:
        until(lambda: not (tmp_path / smtp_config.FAULT_FILE).exists(), seconds=20, what="it listens")
        loaded = Path(f"/proc/{process.pid}/maps").read_text()
        assert "psycopg" not in loaded
        assert "_ssl" not in loaded
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            assert client.recv(3) == b"220"
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


def test_a_name_with_several_addresses_is_listened_on_at_each():
    sockets = listen(Config(host="", port=0, domain="x", database_url=""))
    families = {each.family for each in sockets}
    for each in sockets:
        each.close()
    assert socket.AF_INET in families
