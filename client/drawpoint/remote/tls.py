"""Whether TLS is spoken: what tells `http://` and `https://` apart where an address has the wrong one."""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

NO_TLS = "it speaks HTTP without TLS: write http:// in place of https:// in its address"
TLS = "it speaks TLS: write https:// in place of http:// in its address"

_NO_RECORD = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
"""What OpenSSL, by version, makes of `HTTP/1.1 400` where a record of TLS should be."""


def is_no_tls(error: BaseException) -> bool:
    """Tell whether a handshake has failed because what came back was no TLS at all."""
    return isinstance(error, ssl.SSLError) and error.reason in _NO_RECORD


def speaks_tls(url: str, seconds: float) -> bool:
    """Tell whether a handshake succeeds at the `http://` address `url`, whose servers of TLS just hang up on HTTP."""
    parts = urlsplit(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Nothing is sent to it, and whose certificate it is will be checked once the address says https.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((str(parts.hostname), parts.port or 80), seconds) as plain,
            context.wrap_socket(plain, server_hostname=parts.hostname),
        ):
            return True
    except (OSError, ValueError):
        return False
