"""Whoever sends a body over 1 MiB reads the 413: real clients against the real web server."""

import http.client
import json
import subprocess

import pytest

from tests.faults.programs import program
from tests.faults.wire import connect, heard

pytestmark = pytest.mark.serial

MIB = 1024 * 1024
PATHS = ["/Heartbeat/bench-1", "/api/v1/groups/", "/login/", "/api/v1/responses/twilio/sms/"]


@pytest.fixture(scope="module")
def port(ground):
    with ground.web() as web:
        yield web.port


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", [MIB + 1, 3 * MIB, 8 * MIB])
@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
def test_pythons_http_client_reads_the_413(port, path, size, is_chunked):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    blocks = (b"x" * min(65_536, size - start) for start in range(0, size, 65_536))
    body = blocks if is_chunked else b"x" * size

    connection.request("POST", path, body, {"Content-Type": "application/json"}, encode_chunked=is_chunked)
    answer = connection.getresponse()

    assert answer.status == 413
    assert json.loads(answer.read())["code"] == "too_large"
    connection.close()


def test_the_connection_goes_on_after_a_body_that_was_too_large(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    statuses = []
    for body in (b"x" * 3 * MIB, b"{}"):
        connection.request("POST", PATHS[0], body)
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)

    assert statuses == [413, 200]
    connection.close()


COMMANDS = {
    "wget": ["--tries=1", "--server-response", "--output-document=-", "--post-file={file}", "{url}"],
    "curl": ["--silent", "--show-error", "--include", "--data-binary", "@{file}", "{url}"],
    "curl without Expect": [
        "--silent",
        "--show-error",
        "--include",
        "-H",
        "Expect:",
        "--data-binary",
        "@{file}",
        "{url}",
    ],
}


@pytest.mark.parametrize("path", PATHS[:2])
@pytest.mark.parametrize("name", COMMANDS)
def test_programs_of_the_shell_read_the_413(port, tmp_path, name, path):
    file = tmp_path / "body"
    file.write_bytes(b"x" * 3 * MIB)
    command = [part.format(file=file, url=f"http://127.0.0.1:{port}{path}") for part in COMMANDS[name]]

    done = subprocess.run(
        [program(name.partition(" ")[0]), *command], capture_output=True, text=True, timeout=60, check=False
    )

    assert "HTTP/1.1 413" in done.stdout + done.stderr


@pytest.mark.long
@pytest.mark.parametrize("path", PATHS[:2])
def test_whoever_declares_a_large_body_and_does_not_send_it_gets_the_413_after_a_while(port, path):
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {3 * MIB}\r\n\r\n"
    with connect(port) as slow:
        slow.sendall(head.encode())
        assert heard(slow, seconds=40).status == 413
