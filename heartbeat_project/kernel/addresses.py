"""Which network addresses are public (pure)."""

import ipaddress
from collections.abc import Sequence
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(address: str, *, allowed: Sequence[Network] = ()) -> bool:
    """Answer whether the address is on the public internet, or in one of the allowed networks.

    An IPv6 address that carries an IPv4 address (mapped, 6to4, Teredo, NAT64) is judged by that: it leads there.
    Text that is no address is not public.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    target = _carried(found)
    if any(judged in network for judged in (found, target) for network in allowed):
        return True
    if target.is_multicast or target.is_unspecified or not target.is_global:
        return False
    # Deprecated, but some systems still route them inwards.
    return not (isinstance(target, ipaddress.IPv6Address) and (target.is_site_local or target.is_reserved))


def _carried(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None) or address
