"""Why a connection could not be made, in words: proxies, names, certificates, addresses."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

from operators.llm.answer import CallFailed, one_line

CONNECT_SECONDS = 20.0
_PROXIES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def broken(error: BaseException, address: str | None) -> CallFailed:
    """A connection that failed or could not be tried, with its own cause.

    What only a person can mend is not tried again.
    """
    chain = list(_chain(error))
    for one in chain:
        if (known := _known_cause(one, address)) is not None:
            return known
    names, said = {type(one).__name__ for one in chain}, one_line(str(chain[-1]), 120)
    if "ProxyError" in names:
        return CallFailed(f"the proxy of {_proxy()} refuses: {said}", again=True)
    if isinstance(chain[-1], ValueError) and "proxy" in said.lower():
        return CallFailed(f"{_proxy()} cannot be used: {said}")
    if names & {"UnsupportedProtocol", "InvalidURL", "LocalProtocolError"}:
        return CallFailed(f"the request cannot be sent: {said}")
    if names & {"RemoteProtocolError", "ReadError", "WriteError"}:
        return CallFailed("the server hung up before it answered", again=True)
    codes = [one.errno for one in chain if isinstance(one, OSError) and one.errno]
    if codes or "APIConnectionError" in names:
        why = f": {os.strerror(codes[0])}" if codes else ""
        return CallFailed(f"the server cannot be reached{why}", again=True)
    return CallFailed(f"the connection broke ({type(error).__name__})", again=True)


def _known_cause(error: BaseException, address: str | None) -> CallFailed | None:
    if isinstance(error, ssl.SSLError):
        return _tls(error)
    if isinstance(error, socket.gaierror):
        return _unknown_name(error, address)
    if isinstance(error, ImportError) and "socks" in str(error).lower():
        extra = "pip install 'evotrain[socks]'"
        return CallFailed(f"{_proxy()} names a SOCKS proxy, which needs an extra: {extra}")
    if isinstance(error, ConnectionRefusedError):
        return CallFailed(f"the server cannot be reached: {_refusing(address)}", again=True)
    if isinstance(error, FileNotFoundError | IsADirectoryError | PermissionError):
        return _no_certificates(error)
    return None


def not_connected(error: BaseException) -> CallFailed | None:
    """A time-out before there was a connection; None for any other."""
    if "ConnectTimeout" not in {type(one).__name__ for one in _chain(error)}:
        return None
    return CallFailed(
        f"the server cannot be reached: no connection within {CONNECT_SECONDS:g} s{_through()}",
        again=True,
    )


def _tls(error: ssl.SSLError) -> CallFailed:
    said = getattr(error, "verify_message", "") or (error.reason or "").replace("_", " ").lower()
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = "a certificate authority of your own: SSL_CERT_FILE=its-file.pem"
        return CallFailed(f"the server's certificate is not trusted: {said} ({hint})")
    reason = error.reason or ""
    if reason in (
        "WRONG_VERSION_NUMBER",
        "RECORD_LAYER_FAILURE",
        "HTTP_REQUEST",
        "UNKNOWN_PROTOCOL",
    ):
        return CallFailed("the server speaks no TLS there: should base_url begin with http://?")
    if "CERTIFICATE" in reason or "X509" in reason or "PEM" in reason:
        return _no_certificates(error)
    return CallFailed(
        f"no TLS connection came about: {said or one_line(str(error), 120)}", again=True
    )


def _unknown_name(error: socket.gaierror, address: str | None) -> CallFailed:
    host = _host(address)
    if error.errno == socket.EAI_AGAIN:
        return CallFailed(f"no name server answers for {host} (DNS)", again=True)
    return CallFailed(f"there is no host {host} (DNS: {one_line(error.strerror or '', 80)})")


def _no_certificates(error: OSError) -> CallFailed:
    named = [f"{name}={os.environ[name]}" for name in _CERTIFICATES if os.environ.get(name)]
    what = named[0] if named else "the file of certificates"
    return CallFailed(f"{what} cannot be read: {one_line(error.strerror or str(error), 100)}")


def _refusing(address: str | None) -> str:
    through = _through()
    return f"nothing listens at {_host(address, port=True)}" if not through else through.strip(" ,")


def _through() -> str:
    found = [name for name in _PROXIES if os.environ.get(name) or os.environ.get(name.lower())]
    return f", through {_proxy()} (NO_PROXY=host,... leaves hosts out)" if found else ""


def _proxy() -> str:
    for name in _PROXIES:
        for one in (name, name.lower()):
            if os.environ.get(one):
                return one
    return "the proxy"


def _host(address: str | None, port: bool = False) -> str:
    parts = urlsplit(address or "https://api.openai.com")
    return parts.netloc.rpartition("@")[2] if port else parts.hostname or "?"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came of, the nearest first."""
    seen: set[int] = set()
    here: BaseException | None = error
    while here is not None and id(here) not in seen:
        seen.add(id(here))
        yield here
        here = here.__cause__ or here.__context__
