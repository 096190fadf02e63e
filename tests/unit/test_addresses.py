"""Which addresses are public, and which an installation may name as permitted."""

from ipaddress import ip_network

import pytest

from heartbeat_project.kernel.addresses import is_loopback, is_public

EVERYTHING = [ip_network("0.0.0.0/0"), ip_network("::/0")]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "fe80::1%eth0",
        "fd00::1",
        "::ffff:127.0.0.1",
        "2002:7f00:1::",
        "100.64.0.1",
        "64:ff9b::7f00:1",
    ],
)
def test_private_addresses_are_not_public_unless_their_network_is_allowed(address):
    assert not is_public(address)
    assert is_public(address, allowed=EVERYTHING)


def test_public_addresses_are_public():
    assert is_public("93.184.216.34")
    assert is_public("2606:2800:220:1:248:1893:25c8:1946")


@pytest.mark.parametrize(
    ("host", "is_here"),
    [
        ("127.0.0.1", True),
        ("::ffff:127.0.0.9", True),
        ("localhost", True),
        ("heartbeat.localhost", True),
        ("notlocalhost", False),
        ("localhost.example.org", False),
        ("198.51.100.1", False),
    ],
)
def test_names_of_this_machine_are_known(host, is_here):
    assert is_loopback(host) == is_here
