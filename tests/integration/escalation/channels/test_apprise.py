"""Apprise over the wire: it reaches the services that are permitted, and nothing of this machine or its network."""

import socket
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path

import apprise as library
import pytest

from escalation.channels import apprise
from escalation.channels.base import DeliveryError
from escalation.notifications.providers.channel_pool import ChannelPool
from tests.providers.server import HANG_UP, answer

pytestmark = pytest.mark.django_db  # whether a message may be answered is asked of its row
DISCORD = "discord://123456789012345678/abcdefghijklmnopqrstuvwxyz0123456789"
TOKEN = "abcdefghijklmno"


def send(message):
    with ChannelPool() as channel_pool:
        return channel_pool.send("apprise", message)


def failure(message):
    with pytest.raises(DeliveryError) as caught:
        send(message)
    return caught.value


def on_a_socket(family, kind, deed, *arguments):
    with socket.socket(family, kind) as made:
        getattr(made, deed)(*arguments)


def test_apprise_reaches_the_service_that_the_url_names(provider, message):
    send(message(f"gotify://127.0.0.1:{provider.port}/{TOKEN}"))
    (request,) = provider.requests
    assert request.path.startswith("/message")
    said = request.json
    assert said["title"] == "High #7 [Open] backup <b> is silent"
    assert "has stayed silent" in said["message"]


@pytest.mark.parametrize(
    "url",
    [
        "dbus://",
        "syslog://",
        "mailto://a:b@example.com",
        "json://127.0.0.1/",
        "https://discord.com/api/webhooks/123456789012345678/abcdefghijklmnopqrstuvwxyz0123456789",
        "gotify+dbus://host/token",
        "%67otify://host/abcdefghijklmno",
        "nonsense",
        "gotify://",
    ],
)
def test_a_service_that_is_not_permitted_is_refused(message, url):
    assert failure(message(url)).permanent


@pytest.mark.parametrize(
    "url",
    [
        f"{DISCORD}?x=1;template=/etc/shadow",
        f"{DISCORD}?x=1#&template=/etc/shadow",
        f"{DISCORD}?tts=1;template=/etc/shadow",
        f"{DISCORD}?tts=1;%20TEMPLATE%20=/etc/shadow",
        f"DISCORD://{DISCORD[10:]}?tts=1;%74emplate=/etc/shadow",
        f"{DISCORD}?tts=1;template=/etc/hosts&template=",
        f"{DISCORD}?:name=value",
        "tgram://123456789:abcdefghijklmnopqrstuvwxyzabcdefghi/123?silent=1;template=/etc/shadow",
        "ntfys://topic?template=/etc/passwd",
        "ntfys://topic?TEMPLATE=x",
        "ntfys://topic?%74emplate=x",
        "ntfys://topic?image=no;attach=file:///etc/passwd",
        "ntfys://topic?image=no;filename=/etc/passwd",
        "ntfys://topic?retry=99",
        "ntfys://topic?image=no;wait=99",
        "ntfys://topic?image=no;verify=no",
        "ntfys://topic?image=no;rto=99",
        "ntfys://topic?tz=/etc/shadow",
        "ntfys://topic?+header=1",
        "pagerduty://key@integration?:component=x",
    ],
)
def test_an_option_that_is_not_known_to_be_harmless_is_refused(message, url):
    error = failure(message(url))
    assert error.permanent
    assert "is not permitted in the URL of this service" in str(error)
    assert "/etc" not in str(error)


@pytest.mark.parametrize(
    "url",
    [
        f"{DISCORD}?tts=yes&footer=no&thread=1&avatar_url=https://example.org/a.png&ping=@here&",
        f"gotify://host/{TOKEN}?priority=high",
        "matrix://user:secret@host/%23room?msgtype=notice&path=/hook",
        "mmosts://host/abcdefghijklmnopqrstuvwxyz?channel=ops&icon_url=https://example.org/a.png",
        "ntfys://user:secret@host/topic?priority=urgent&xtags=warning&click=https://example.org",
        "ntfys://topic?tags=warning,skull",
        "gchat://workspace/key/token?threadkey=1",
        "pagerduty://abcdefghijklmnopqrst@abcdefghijklmnopqrst?source=db1&component=disk",
        "opsgenie://abcdefghij/@ana?tags=a,b&entity=job&+room=4",
        "pagerduty://abcdefghijklmnopqrst@abcdefghijklmnopqrst?class=job&group=ops&+rack=7",
        "pover://abcdefghijklmnopqrstuvwxyzabcd@abcdefghijklmnopqrstuvwxyzabcd?sound=siren&priority=emergency",
        "rockets://user:secret@host/%23room?avatar=no",
        "tgram://123456789:abcdefghijklmnopqrstuvwxyzabcdefghi/123?silent=yes&thread=7&mdv=v2",
        "signals://host/+15550001111?to=+15550002222",
    ],
)
def test_what_a_service_only_sends_on_is_permitted(url):
    assert apprise.service(url)


def test_of_an_apprise_in_use_every_permitted_text_was_looked_at(settings):
    """A new version may bring options. Look up what each new one does before its name comes into PERMITTED_TEXTS."""
    plugins = library.plugins.N_MGR
    refused = {
        option
        for service in settings.APPRISE_SERVICES
        for option in plugins[service].template_args
        if not apprise._is_permitted(option, plugins[service])
    }
    assert refused == {"attach", "filename", "template", "tz", "verify", "retry", "wait", "rto", "cto"}


def test_no_file_goes_out_with_a_message(provider, message, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    failure(message(f"ntfy://127.0.0.1:{provider.port}/topic?image=no;attach=file://{secret}"))
    assert provider.requests == []


def test_one_url_is_one_service(provider, message):
    send(message(f"gotify://127.0.0.1:{provider.port}/{TOKEN},gotify://127.0.0.1:{provider.port}/other"))
    assert len(provider.requests) == 1


def test_a_redirect_into_a_private_network_is_not_followed(settings, provider, make_provider, message):
    inner = make_provider()
    settings.OUTGOING_ALLOW = [ip_network("127.0.0.1/32")]
    provider.answers(answer(307, location=f"http://127.0.0.2:{inner.port}/admin"))
    error = failure(message(f"gotify://127.0.0.1:{provider.port}/{TOKEN}"))
    assert str(error) == "The URL leads to an address that is not public."
    assert error.permanent
    assert inner.requests == []


def test_an_error_text_names_neither_file_nor_host(settings, provider, message):
    provider.answers(answer(404, b"root:x:0:0 at 10.1.2.3"))
    url = f"gotify://127.0.0.1:{provider.port}/{TOKEN}"
    assert str(failure(message(url))) == "Gotify: It answered 404 Not Found."
    assert str(failure(message(f"gotify://127.0.0.1:1/{TOKEN}"))) == "Gotify: The connection failed."
    settings.OUTGOING_ALLOW = []
    assert str(failure(message(url))) == "The URL leads to an address that is not public."


@pytest.mark.parametrize(
    "deed",
    [
        lambda _: Path("/etc/passwd").read_text(),
        lambda secret: secret.read_text(),
        lambda secret: secret.write_text("changed"),
        lambda _: subprocess.run([sys.executable, "-c", ""], check=False),
        lambda _: on_a_socket(socket.AF_UNIX, socket.SOCK_STREAM, "connect", "/run/dbus/system_bus_socket"),
        lambda _: on_a_socket(socket.AF_INET, socket.SOCK_DGRAM, "sendto", b"x", ("10.0.0.1", 514)),
    ],
    ids=["file", "own file", "written file", "program", "socket of this machine", "datagram"],
)
def test_the_sending_thread_reaches_nothing_of_this_machine(tmp_path, deed):
    secret = tmp_path / "secret.txt"
    secret.write_text("kept")
    with apprise._watched(), pytest.raises(PermissionError):
        deed(secret)
    assert secret.read_text() == "kept"


def test_apprise_knows_whether_the_service_was_asked_at_all(provider, message):
    provider.answers(HANG_UP)
    assert failure(message(f"gotify://127.0.0.1:{provider.port}/{TOKEN}")).uncertain
    refused = failure(message(f"gotify://127.0.0.1:1/{TOKEN}"))
    assert (refused.uncertain, refused.permanent) == (False, False)


def test_the_watch_ends_with_the_message(settings, provider, message):
    settings.OUTGOING_ALLOW = []
    failure(message(f"gotify://127.0.0.1:{provider.port}/{TOKEN}"))
    socket.create_connection(("127.0.0.1", provider.port)).close()
