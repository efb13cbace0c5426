"""Reaching a vendor over https, also with a certificate that no public authority signed, and saying why it failed."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from motet_servers.github.__main__ import COMMAND as GITHUB
from motet_servers.github.server import build as build_github
from motet_servers.jira.__main__ import COMMAND as JIRA
from motet_servers.jira.server import build as build_jira
from motet_servers.kit.errors import DomainError, NotFound, Unavailable
from motet_servers.kit.server import DomainServer
from motet_servers.kit.settings import SettingsError, Values
from motet_servers.slack.__main__ import COMMAND as SLACK
from motet_servers.slack.server import build as build_slack

CALLS: dict[str, tuple[str, dict[str, str]]] = {
    "github": ("get_repository", {"repo": "a/b"}),
    "jira": ("get_issue", {"key": "A-1"}),
    "slack": ("get_identity", {}),
}


def served(name: str, url: str, **more: str) -> DomainServer:
    """The server as the environment makes it."""
    match name:
        case "github":
            return build_github(Values(GITHUB.variables, {"GITHUB_TOKEN": "x", "GITHUB_API_URL": url, **more}), [])
        case "jira":
            return build_jira(Values(JIRA.variables, {"JIRA_PERSONAL_TOKEN": "x", "JIRA_URL": url, **more}), [])
        case _:
            return build_slack(Values(SLACK.variables, {"SLACK_BOT_TOKEN": "x", "SLACK_API_URL": url, **more}), [])


async def failing(server: DomainServer, name: str) -> DomainError:
    tool, arguments = CALLS[name]
    with pytest.raises(DomainError) as failed:
        await server.call_tool(tool, arguments)
    return failed.value


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for this machine that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(pem, pkcs8, plain))
    return folder / "cert.pem", folder / "key.pem"


@asynccontextmanager
async def https(folder: Path) -> AsyncGenerator[str]:
    """The URL of an API that has nothing, with its own certificate."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    cert, key = certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as listener:
        yield f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("name", CALLS)
async def test_a_certificate_of_your_own_is_trusted_if_named_and_else_said_to_be_the_trouble(
    name: str, tmp_path: Path
) -> None:
    async with https(tmp_path) as url:
        trusting = await failing(served(name, url, SSL_CERT_FILE=str(tmp_path / "cert.pem")), name)
        wary = await failing(served(name, url), name)
    assert type(trusting) is NotFound
    assert type(wary) is Unavailable
    assert "its certificate is not trusted (self-signed certificate); SSL_CERT_FILE names" in str(wary)
    assert "Nothing was sent." in str(wary)


@pytest.mark.parametrize("name", CALLS)
async def test_an_address_where_nothing_is_says_so(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    failed = await failing(served(name, url), name)
    assert type(failed) is Unavailable
    assert str(failed).endswith(f"cannot be reached at {url}: nothing listens there. Nothing was sent.")


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_that_is_none_of_certificates_refuses_to_start(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError, match=rf"^SSL_CERT_FILE: {file} is no PEM file of certificates \("):
        served("jira", "https://x.invalid", SSL_CERT_FILE=str(file))
