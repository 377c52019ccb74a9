"""By which names a server may be asked that only this machine reaches."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_own_name(host: str) -> bool:
    """Whether a request's header `Host` is an address or `localhost`, with or without a port, or empty.

    A web page can give a name of its own the address 127.0.0.1 (DNS rebinding); the browser then takes this server for
    the page's, and lets it read the answers. It cannot do so with an address, nor with a name below `localhost`.
    """
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.lower().rstrip(".").rpartition(".")[2] in ("", "localhost")
    return True
