"""The sender of a request, as far as proxies and their headers can be trusted (pure).

A proxy appends to X-Forwarded-For the address from which it received the request. Therefore the list is read from its
end, and only while the hops are our own proxies: the sender may have written everything further to the left.
"""

import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from heartbeat_project.kernel.addresses import Address, Network, carried, is_public

MAX_HOPS: Final = 20
MAX_ADDRESS: Final = 64  # characters: an IPv6 address in brackets with a zone and a port
MAX_HEADER: Final = MAX_HOPS * (MAX_ADDRESS + 2)  # characters; only the end of a longer header is read
Networks = tuple[Network, ...]
# The key in a request's META that says whether the request had forwarding headers, trusted or not.
WAS_FORWARDED: Final = "heartbeat.was_forwarded"
# Other headers that proxies set. Their content is not trusted, but their presence means that there is a proxy.
OTHER_HEADERS: Final = ("HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_REAL_IP")
# The key of the request's Sender in its META.
SENDER: Final = "heartbeat.sender"
MAX_CLAIMS: Final = 3  # addresses in the header of an untrusted proxy that are read


@dataclass(frozen=True)
class Sender:
    """The networks that a request comes from, wide to narrow; `is_one` if the last is certainly that of one customer.

    It is not if all users of a proxy may share the address. Then no request may be refused for what others did.
    """

    networks: tuple[str, ...] = ("",)
    is_one: bool = False


@lru_cache(maxsize=10_000)
def _parsed(text: str) -> Address | None:
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def parsed(text: str) -> Address | None:
    """Return the address in a header's value, which may have a port; None if it is not an address."""
    text = text.strip()
    return _parsed(text) if len(text) <= MAX_ADDRESS else None


@lru_cache(maxsize=10_000)
def _is_in(address: Address, networks: Networks) -> bool:
    return any(address in network for network in networks)


def is_trusted(peer: str | None, networks: Networks) -> bool:
    """Return whether a request comes straight from one of our proxies."""
    if not networks or not peer:
        return False
    address = parsed(peer)
    return address is not None and _is_in(address, networks)


def sender(peer: str, forwarded_for: str, networks: Networks) -> tuple[str, int]:
    """Return the sender's address of a request from a trusted peer, and the number of hops read from the header.

    The sender is the last address in X-Forwarded-For that is not one of our proxies, or the first if all are. Reading
    stops at a value that is not an address.
    """
    remaining, hops = forwarded_for[-MAX_HEADER:], 0
    while remaining and hops < MAX_HOPS:
        remaining, _, last = remaining.rpartition(",")
        address = parsed(last)
        if address is None:
            break
        peer, hops = str(address), hops + 1
        if not _is_in(address, networks):
            break
    return peer, hops


def forwarded_value(header: str, hops: int) -> str:
    """Return the value that the outermost of `hops` proxies wrote into a header that each of them sets or extends."""
    values = header[-MAX_HEADER:].split(",")
    return values[-min(max(hops, 1), len(values))].strip()


@lru_cache(maxsize=10_000)
def networks_of(address: Address) -> tuple[str, ...]:
    """Return the networks of one customer, wide to narrow: an IPv4 address, or the /48 and the /64 of IPv6."""
    target = carried(address)
    if isinstance(target, ipaddress.IPv4Address):
        return (str(target),)
    return tuple(str(ipaddress.ip_network((int(target) >> 128 - bits << 128 - bits, bits))) for bits in (48, 64))


def sender_by_trust(peer: str, networks: Networks) -> Sender:
    """Return the sender at the address `peer`, which our proxies named or which connected directly.

    `networks` hold no users: those of our proxies (then the proxy named no sender) and of gateways.
    """
    address = parsed(peer)
    if address is None:  # a socket of this machine
        return Sender()
    return Sender(networks_of(address), is_one=not _is_in(address, networks))


def sender_by_claim(peer: str, forwarded_for: str, real_ip: str = "") -> Sender:
    """Return the sender of a request with forwarding headers whose peer is not one of our proxies.

    The claimed addresses keep the clients of an unknown proxy apart; a sender who invents them stays within the network
    of the peer. `is_one` needs exactly one claim of a public address: the last of several claims may be another proxy,
    and a private address may be a gateway. A proxy that sets only X-Real-IP passes on the sender's X-Forwarded-For,
    which may name somebody else: if the two differ, neither is taken for one customer.
    """
    address = parsed(peer)
    networks = list(networks_of(address)) if address else [""]
    remaining, claims = (forwarded_for or real_ip)[-MAX_HEADER:], 0
    while remaining and claims < MAX_CLAIMS:
        remaining, _, last = remaining.rpartition(",")
        address = parsed(last)
        if address is None:
            break
        networks += networks_of(address)
        claims += 1
    is_one = "," not in forwarded_for and address is not None and claims == 1 and is_public(str(address))
    if forwarded_for and real_ip and (other := parsed(real_ip)) != address:
        is_one = False
        networks += networks_of(other) if other else ()
    return Sender(tuple(networks), is_one=is_one)
