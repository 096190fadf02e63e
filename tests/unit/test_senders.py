"""From where a request comes, as far as it is known: networks from wide to narrow, and whether they are one customer's."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as some

from heartbeat_project.kernel.proxies import MAX_CLAIMS, Sender, networks_of, sender_by_claim, sender_by_trust

OURS = (ipaddress.ip_network("10.0.0.0/8"),)


@pytest.mark.parametrize(
    ("address", "networks"),
    [
        ("198.51.100.1", ("198.51.100.1",)),
        ("::ffff:198.51.100.1", ("198.51.100.1",)),
        ("64:ff9b::198.51.100.1", ("198.51.100.1",)),  # a whole internet would share its 64 bits
        ("2001:db8:1:2:3:4:5:6", ("2001:db8:1::/48", "2001:db8:1:2::/64")),
        ("2001:db8:1:2::", ("2001:db8:1::/48", "2001:db8:1:2::/64")),
    ],
)
def test_an_ipv6_customer_has_one_place_and_not_2_to_the_64(address, networks):
    assert networks_of(ipaddress.ip_address(address)) == networks


@pytest.mark.parametrize(
    ("peer", "sender"),
    [
        ("198.51.100.1", Sender(("198.51.100.1",), is_one=True)),
        ("192.168.7.9", Sender(("192.168.7.9",), is_one=True)),
        ("fe80::1%eth0", Sender(("fe80::/48", "fe80::/64"), is_one=True)),
        ("10.0.0.9", Sender(("10.0.0.9",), is_one=False)),  # our proxy, which named nobody
        ("", Sender(("",), is_one=False)),
        ("unix:", Sender(("",), is_one=False)),
    ],
)
def test_whom_our_proxies_name_is_one_unless_it_is_one_of_them(peer, sender):
    assert sender_by_trust(peer, OURS) == sender


@pytest.mark.parametrize(
    ("forwarded_for", "claims", "is_one"),
    [
        ("9.9.9.9", ("9.9.9.9",), True),
        ("[2606:4700::1111]:443", ("2606:4700::/48", "2606:4700::/64"), True),
        ("192.168.7.9", ("192.168.7.9",), False),
        ("172.18.0.1", ("172.18.0.1",), False),
        ("8.8.4.4, 9.9.9.9", ("9.9.9.9", "8.8.4.4"), False),
        ("unknown, 9.9.9.9", ("9.9.9.9",), False),
        (",9.9.9.9", ("9.9.9.9",), False),
        ("unknown", (), False),
        ("", (), False),
    ],
)
def test_what_a_proxy_that_is_not_named_claims_stays_within_it(forwarded_for, claims, is_one):
    assert sender_by_claim("172.18.0.2", forwarded_for) == Sender(("172.18.0.2", *claims), is_one=is_one)


@pytest.mark.parametrize(
    ("real_ip", "sender"),
    [
        ("9.9.9.9", Sender(("172.18.0.2", "9.9.9.9"), is_one=True)),
        ("8.8.4.4", Sender(("172.18.0.2", "9.9.9.9", "8.8.4.4"), is_one=False)),
        ("unknown", Sender(("172.18.0.2", "9.9.9.9"), is_one=False)),
    ],
)
def test_two_claims_that_differ_are_of_no_one(real_ip, sender):
    assert sender_by_claim("172.18.0.2", "9.9.9.9", real_ip) == sender


@given(some.text(alphabet="0123456789.:,[] abcdef", max_size=3_000))
def test_whatever_is_claimed_is_bounded(forwarded_for):
    sender = sender_by_claim("192.0.2.1", forwarded_for)
    assert sender.networks[0] == "192.0.2.1"
    assert len(sender.networks) <= 1 + 2 * MAX_CLAIMS
