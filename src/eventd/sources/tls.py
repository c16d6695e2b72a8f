"""A TLS connection that can be peeked into, as a plain one can."""

from __future__ import annotations

import socket
import ssl


class TlsSocket(ssl.SSLSocket):
    """Made by an SSLContext as its `sslsocket_class`; keeps no more than was asked to be peeked."""

    _ahead = b""  # decrypted, peeked at, and not taken yet

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """What is there; MSG_PEEK leaves it there. BlockingIOError where nothing is yet."""
        peek = flags & socket.MSG_PEEK
        missing = buflen - len(self._ahead)
        if not self._ahead or (peek and missing > 0):
            try:
                self._ahead += super().recv(missing)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                if not self._ahead:
                    raise BlockingIOError from None
        data = self._ahead[:buflen]
        if not peek:
            self._ahead = self._ahead[buflen:]
        return data

    def pending(self) -> int:
        """How many bytes can be read whether or not more comes."""
        return len(self._ahead) + super().pending()
