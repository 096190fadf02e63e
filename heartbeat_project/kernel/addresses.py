"""Which network addresses are public (pure)."""

import ipaddress
from collections.abc import Sequence
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052


def is_loopback(host: str) -> bool:
    """Return whether a host, by name or address, is the machine itself."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")  # RFC 6761
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def is_public(address: str, *, allowed: Sequence[Network] = ()) -> bool:
    """Return whether the address is on the public internet, or in one of the allowed networks.

    An IPv6 address that embeds an IPv4 address (mapped, 6to4, Teredo, NAT64) is judged by the IPv4 address, because
    that is where the packets go. Text that is not an address is not public.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    target = carried(parsed)
    if any(parsed in network or target in network for network in allowed):
        return True
    if target.is_multicast or target.is_unspecified or not target.is_global:
        return False
    # Both are deprecated, but some systems still route them into the private network.
    return not (isinstance(target, ipaddress.IPv6Address) and (target.is_site_local or target.is_reserved))


def carried(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address embeds (mapped, 6to4, Teredo, NAT64), or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None) or address
