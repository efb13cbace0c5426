"""Which URLs credentials may be sent to, and URL paths built from arguments without letting them escape.

Plain http is for this machine only, unless the operator allows it; link-local addresses (cloud metadata services) never
are a vendor's API. Sources: OWASP SSRF prevention cheat sheet; RFC 3986 for the percent-encoding of segments.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, quote, urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}
METADATA_NAMES = {"metadata.google.internal", "metadata", "instance-data"}


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
    return address.is_link_local or address.is_multicast or address.is_unspecified


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
