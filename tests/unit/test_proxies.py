"""Who sent a request, by what proxies say of it: only ours are believed, and garbage is nobody's address."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartbeat_project.kernel.proxies import MAX_HOPS, forwarded_value, is_trusted, parsed, sender

OURS = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "fd00::/8", "192.168.7.1/32")))


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("fd00::1%eth0", True),
        ("192.168.7.1", True),
        ("192.168.7.2", False),
        ("11.0.0.1", False),
        ("", False),
        (None, False),
        ("unix:", False),
        ("10.1.2.3, 10.1.2.4", False),
    ],
)
def test_whose_word_is_taken(peer, trusted):
    assert is_trusted(peer, OURS) is trusted
    assert not is_trusted(peer, ())


@pytest.mark.parametrize(
    ("forwarded_for", "expected", "named"),
    [
        ("", "10.0.0.9", 0),
        ("198.51.100.4", "198.51.100.4", 1),
        ("203.0.113.66, 198.51.100.4", "198.51.100.4", 1),  # the first was written by the sender
        ("203.0.113.66, 198.51.100.4, 10.0.0.2,10.0.0.3", "198.51.100.4", 3),
        ("10.0.0.7, 10.0.0.2", "10.0.0.7", 2),  # all are ours: somebody of our own network
        ("203.0.113.66, unknown", "10.0.0.9", 0),
        ("203.0.113.66, _hidden, 10.0.0.2", "10.0.0.2", 1),
        ("203.0.113.66,", "10.0.0.9", 0),
        (",,,,", "10.0.0.9", 0),
        ("198.51.100.4:5123", "198.51.100.4", 1),
        ("[2001:db8::7]:443", "2001:db8::7", 1),
        ("2001:db8::7", "2001:db8::7", 1),
        ("::ffff:198.51.100.4", "198.51.100.4", 1),
        ("203.0.113.66 198.51.100.4", "10.0.0.9", 0),
        ("1" * 5_000, "10.0.0.9", 0),
        ("999.1.1.1", "10.0.0.9", 0),
        ("\uff11\uff19\uff18.51.100.4", "10.0.0.9", 0),
        ("\x00", "10.0.0.9", 0),
    ],
)
def test_the_sender_is_the_last_that_is_not_ours(forwarded_for, expected, named):
    assert sender("10.0.0.9", forwarded_for, OURS) == (expected, named)


def test_a_long_list_is_read_from_its_end_and_no_further_than_is_stated():
    assert sender("10.0.0.9", "203.0.113.66, " + "10.0.0.1, " * 100_000 + "10.0.0.2", OURS) == ("10.0.0.1", MAX_HOPS)
    assert sender("10.0.0.9", "203.0.113.66, " * 100_000 + "198.51.100.4", OURS) == ("198.51.100.4", 1)


@given(st.text())
def test_nothing_in_the_header_raises(text):
    address, _ = sender("10.0.0.9", text, OURS)
    assert parsed(address) is not None


@pytest.mark.parametrize(
    ("header", "named", "expected"),
    [
        ("https", 1, "https"),
        ("https", 3, "https"),
        ("http, https", 1, "https"),  # the first was written by the sender
        ("https, http", 2, "https"),  # our outer proxy ends TLS
        ("http, https, http", 2, "https"),
        (" https ", 0, "https"),
        ("", 1, ""),
    ],
)
def test_scheme_and_host_are_those_that_the_outermost_of_our_proxies_saw(header, named, expected):
    assert forwarded_value(header, named) == expected
