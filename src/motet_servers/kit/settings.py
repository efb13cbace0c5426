"""Settings from the environment: a server declares its variables and sees no others.

`Values` gives typed access; what is missing or malformed is a `SettingsError` that names the variable, says what is
wrong and where to get it, and never shows a secret's value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from ssl import SSLContext


class SettingsError(Exception):
    """A setting is missing or malformed. The message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable a server reads."""

    name: str
    help: str
    """What it is, one line."""
    secret: bool = False
    """Its value never shows up anywhere."""
    default: str = ""
    where: str = ""
    """Where to get it, a whole sentence."""


AUTHORITIES = Variable(
    "SSL_CERT_FILE", "a PEM file of the certificate authorities to trust", where="Left out: the system's."
)
"""For servers that talk https, also to hosts whose certificates no public authority signed."""


class Values:
    """The declared variables' values. Asking for one that was not declared is a mistake in the server: KeyError."""

    __slots__ = ("_values", "_variables")

    def __init__(self, variables: Sequence[Variable], environ: Mapping[str, str]) -> None:
        self._variables = {variable.name: variable for variable in variables}
        self._values = {name: environ.get(name, "").strip() for name in self._variables}

    def __repr__(self) -> str:
        shown = [name for name, value in self._values.items() if value]
        return f"Values(set: {', '.join(shown) or 'none'})"

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values that must never be shown: of secret variables, and passwords inside URLs."""
        found: list[str] = []
        for name, value in self._values.items():
            if not value:
                continue
            if "://" in value:
                password = _password(value)
                if password:
                    found += [password, unquote(password)]
                    if self._variables[name].secret:
                        found.append(value)
            elif self._variables[name].secret:
                found.append(value)
        return tuple(dict.fromkeys(found))

    def get(self, name: str) -> str:
        """The value, or the variable's default ("" if it has none)."""
        return self._values[name] or self._variables[name].default

    def require(self, name: str) -> str:
        """The value; SettingsError when it is not set."""
        value = self.get(name)
        if not value:
            variable = self._variables[name]
            raise SettingsError(" ".join(filter(None, (f"{name} is not set: {variable.help}.", variable.where))))
        return value

    def token(self, name: str) -> str:
        """A token that goes into a header; SettingsError when it is not set, or cannot be one."""
        value = self.require(name)
        if not (value.isascii() and value.isprintable()) or " " in value:
            raise SettingsError(f"{name} holds characters that no token has (spaces, line ends, …): copy it again.")
        return value

    def number(self, name: str, *, minimum: int = 0, maximum: int = 1 << 62) -> int:
        """A whole number within bounds; the variable's default must be one."""
        text = self.get(name)
        try:
            number = int(text)
        except ValueError:
            number = minimum - 1
        if not minimum <= number <= maximum:
            raise SettingsError(f"{name} must be a whole number from {minimum} to {maximum}, not {text!r}.")
        return number

    def flag(self, name: str) -> bool:
        """True for 1, true, yes, on; False for empty, 0, false, no, off."""
        text = self.get(name).lower()
        if text in {"1", "true", "yes", "on"}:
            return True
        if text in {"", "0", "false", "no", "off"}:
            return False
        raise SettingsError(f"{name} must be 1 or 0 (or true/false, yes/no, on/off), not {text!r}.")

    def url(self, name: str, *, allow_http: bool = False) -> str:
        """A base URL that is safe to send credentials to (see `addresses.base_url`); SettingsError otherwise."""
        from motet_servers.kit.addresses import base_url

        try:
            return base_url(self.require(name), allow_http=allow_http)
        except ValueError as error:
            raise SettingsError(f"{name}: {error}") from None

    def authorities(self) -> SSLContext | None:
        """What AUTHORITIES names, ready for use; None: the system's. SettingsError when the file is none such."""
        file = self.get(AUTHORITIES.name)
        if not file:
            return None
        import ssl

        try:
            return ssl.create_default_context(cafile=file)
        except OSError as error:  # also what ssl itself raises
            why = error.strerror or error
            raise SettingsError(f"{AUTHORITIES.name}: {file} is no PEM file of certificates ({why}).") from None


def _password(url: str) -> str:
    try:
        return urlsplit(url).password or ""
    except ValueError:
        return ""
