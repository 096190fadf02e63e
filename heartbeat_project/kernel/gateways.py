"""The default gateways of this machine (Linux), and its own addresses.

No user has such an address: a request from one of them was forwarded by a container runtime, a router or a program on
this machine that hides the sender.
"""

import ipaddress
import socket
import sys
from functools import lru_cache
from pathlib import Path
from typing import Final

from heartbeat_project.kernel.addresses import Address

ROUTES: Final = Path("/proc/net/route")
ROUTES_IPV6: Final = Path("/proc/net/ipv6_route")
_DISCARD: Final = 9  # a port (RFC 863); any would do, since nothing is sent


def default_gateways(routes: Path = ROUTES, routes_ipv6: Path = ROUTES_IPV6) -> tuple[Address, ...]:
    """Return the addresses of the default gateways; none if the system has no such files.

    Source: proc_net(5) and the kernel's ipv6_route. Addresses are hexadecimal; IPv4 is in the machine's byte order.
    """
    gateways: list[Address] = []
    for _, destination, gateway, *_ in _rows(routes, columns=3):
        if _is_zero(destination) and not _is_zero(gateway):
            gateways.append(ipaddress.IPv4Address(int.from_bytes(bytes.fromhex(gateway), sys.byteorder)))
    for destination, bits, _, _, gateway, *_ in _rows(routes_ipv6, columns=5):
        if _is_zero(destination) and _is_zero(bits) and not _is_zero(gateway):
            gateways.append(ipaddress.IPv6Address(int(gateway, 16)))
    return tuple(gateways)


@lru_cache(maxsize=10_000)
def is_own(address: Address) -> bool:
    """Return whether this machine or container has the address.

    A machine reaches its own address from that same address. Connecting a UDP socket sends nothing: it only makes the
    system choose the route and with it the source address.
    """
    family = socket.AF_INET6 if isinstance(address, ipaddress.IPv6Address) else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), _DISCARD))
            return ipaddress.ip_address(probe.getsockname()[0]) == address
    except OSError:
        return False


def _rows(file: Path, *, columns: int) -> list[list[str]]:
    try:
        rows = [line.split() for line in file.read_text("ascii").splitlines()]
    except OSError:
        return []
    return [row for row in rows if len(row) >= columns]


def _is_zero(number: str) -> bool:
    return bool(number) and not number.strip("0")
