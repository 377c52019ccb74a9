"""A socket that listens, for servers of whatever kind."""

import socket

from tamis.errors import InputError


def listen(host: str, port: int, option: str = "--port") -> socket.socket:
    """A socket that listens.

    Args:
        host: Address.
        port: 0 for any that is free.
        option: How the port was named, for messages.

    Raises:
        InputError: the address is none, or taken.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError, UnicodeError) as error:  # taken; no such port; no such name
        raise InputError(f"cannot listen on {host}:{port}: {error}; choose another --host or {option}") from None
    # Connections inherit it. asyncio sets it only where a socket was made with its protocol named; without it the body
    # of an answer waits 40 ms for the client to acknowledge the head.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
