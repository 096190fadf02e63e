"""Which gateways this machine's packets leave by, from what Linux says of its routes."""

import ipaddress
import socket

import pytest

from heartbeat_project.kernel.gateways import default_gateways, is_own

ROUTES = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	010012AC	0003	0	0	0	00000000	0	0	0
eth0	000012AC	00000000	0001	0	0	0	0000FFFF	0	0	0
eth1	00000000	00000000	0001	0	0	0	00000000	0	0	0
"""
ROUTES_IPV6 = """\
fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001 eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000400 00000001 00000000 00000003 eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200 lo
"""


def test_the_gateways_of_default_routes_are_found(tmp_path):
    (tmp_path / "route").write_text(ROUTES)
    (tmp_path / "ipv6_route").write_text(ROUTES_IPV6)
    assert default_gateways(tmp_path / "route", tmp_path / "ipv6_route") == (
        ipaddress.ip_address("172.18.0.1"),
        ipaddress.ip_address("fd00::1"),
    )


def test_where_the_system_does_not_say_there_is_none(tmp_path):
    assert default_gateways(tmp_path / "none", tmp_path / "none") == ()


@pytest.mark.parametrize("address", ["127.0.0.1", "198.51.100.1", "2001:db8::1", "224.0.0.1", "255.255.255.255"])
def test_own_addresses_are_known_from_others(address):
    assert is_own(ipaddress.ip_address(address)) == (address == "127.0.0.1")


def test_so_it_is_where_others_can_be_bound_and_where_no_way_leads(monkeypatch):
    class FakeSocket:
        def __init__(self, *_):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def connect(self, address):
            if address[0] == "203.0.113.1":
                raise OSError

        def getsockname(self):
            return ("10.0.2.100", 40_000)

    monkeypatch.setattr(socket, "socket", FakeSocket)
    found = [is_own.__wrapped__(ipaddress.ip_address(text)) for text in ("10.0.2.100", "10.0.2.2", "203.0.113.1")]
    assert found == [True, False, False]
