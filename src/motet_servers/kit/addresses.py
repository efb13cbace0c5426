"""Which URLs credentials may be sent to, and URL paths built from arguments without letting them escape.

Plain http is for this machine only, unless the operator allows it; link-local addresses (cloud metadata services) never
are a vendor's API. Sources: OWASP SSRF prevention cheat sheet; RFC 3986 for the percent-encoding of segments.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import SplitResult, quote, urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}
METADATA_NAMES = {"metadata.google.internal", "metadata", "instance-data"}
METADATA_ADDRESSES = {ipaddress.ip_address(number) for number in ("fd00:ec2::254", "100.100.100.200", "192.0.0.192")}
"""Metadata services that are not link-local: AWS over IPv6, Alibaba, Oracle."""
NAT64 = ipaddress.ip_network("64:ff9b::/96")


def base_url(text: str, *, allow_http: bool = False) -> str:
    """The URL without a trailing slash; ValueError saying what is wrong with it (never showing credentials in it)."""
    try:
        parts = urlsplit(text.strip())
        _ = parts.port
    except ValueError:
        raise ValueError("not a URL; expected something like https://example.com/api.") from None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ValueError("not an http(s) URL; expected something like https://example.com/api.")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold credentials; give them in their own variables.")
    if parts.query or parts.fragment:
        raise ValueError("must not have a query or a fragment.")
    host = parts.hostname
    if _forbidden(host):
        raise ValueError(f"{host} is a link-local or metadata address, which no API lives at.")
    if parts.scheme == "http" and not (allow_http or is_loopback(host)):
        raise ValueError(f"plain http to {host} would send the credential unencrypted; use https.")
    return text.strip().rstrip("/")


def is_loopback(host: str) -> bool:
    """Is it this machine, by name or number?"""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of an absolute URL (RFC 6454); ValueError when it is not one."""
    parts: SplitResult = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ValueError("not an absolute http(s) URL")
    return parts.scheme, parts.hostname.lower(), parts.port or DEFAULT_PORTS[parts.scheme]


def path(*segments: str | int) -> str:
    """`/a/b/c`, each segment percent-encoded so that an argument stays one; ValueError for `.`, `..` and empty."""
    parts: list[str] = []
    for segment in segments:
        text = str(segment)
        if text in {"", ".", ".."} or any(ord(character) < 32 for character in text):
            raise ValueError(f"{text!r} cannot be part of an address")
        parts.append(quote(text, safe=""))
    return "/" + "/".join(parts)


def _forbidden(host: str) -> bool:
    address = _address(host)
    if address is None:
        return host.lower().rstrip(".") in METADATA_NAMES
    return address.is_link_local or address.is_multicast or address.is_unspecified or address in METADATA_ADDRESSES


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The number that a host is, also in the spellings that only the resolver knows (`0xa9fea9fe`, `169.254.43518`)."""
    try:
        address = ipaddress.ip_address(host.rstrip("."))
    except ValueError:
        try:
            return ipaddress.IPv4Address(socket.inet_aton(host.rstrip(".")))
        except OSError:
            return None
    if isinstance(address, ipaddress.IPv6Address):
        inside = address.ipv4_mapped or address.sixtofour
        if inside is None and address in NAT64:
            inside = ipaddress.IPv4Address(address.packed[-4:])
        return inside or address
    return address
