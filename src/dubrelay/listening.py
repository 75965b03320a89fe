"""A listening socket for a server of ours, or one line that says why there is none."""

from __future__ import annotations

import errno
import socket

from dubrelay.errors import StartupError

_BACKLOG = 2048


def listening(who: str, host: str, port: int) -> socket.socket:
    """Listens for `who`, which is also the section that its port stands in. StartupError when it cannot."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        server_socket = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as e:
        reason = e.strerror if isinstance(e, OSError) else "not the name of a host"
        raise StartupError(f"{who}: cannot listen on {host}:{port}: {reason}") from e
    try:
        server_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server_socket.bind(address)
        # Linux lets two sockets bind one port with SO_REUSEADDR as long as none of them listens.
        server_socket.listen(_BACKLOG)
    except OSError as e:
        server_socket.close()
        if e.errno == errno.EADDRINUSE:
            message = f"{who}: {host}:{port} is in use; stop what listens there, or choose another {who}.port"
            raise StartupError(message) from e
        raise StartupError(f"{who}: cannot listen on {host}:{port}: {e.strerror}") from e
    return server_socket
