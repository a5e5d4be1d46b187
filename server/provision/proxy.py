"""The reverse proxy's configuration: nginx, TLS to both sides, ``/v1/fleet/`` and nothing else.

Node keys authenticate the calls under ``/v1/fleet/``. The SuperLink's Control API, on the same
port, authenticates nobody, so the proxy is what keeps a holder of a kit from starting a run or
registering a node. A request passes only where its path, as it was sent and before any decoding,
is ``/v1/fleet/`` and one word: the proxy and the SuperLink then cannot read it differently. With
mutual TLS a caller also shows a certificate of the CA, of a key that is registered.
"""

from __future__ import annotations

from common.consortium import address, bracketed
from server.provision.certificates import is_loopback
from server.provision.consortium import Consortium
from server.provision.templates import render

MUTUAL_MAP = """\
    # Whose certificate lets a site in; 'fedrounds provision' writes the list.
    map_hash_bucket_size 512;
    map $ssl_client_s_dn $stranger {
        default 1;
        include admitted.map;
    }

"""
MUTUAL_TLS = """
        # 401, which ends a SuperNode: no certificate, one that does not hold, or a revoked key's.
        ssl_verify_client      on;
        ssl_verify_depth       1;
        ssl_client_certificate ca.crt;
        error_page 495 496 = @stranger;
        if ($stranger) {
            return 401;
        }
        location @stranger {
            return 401;
        }
"""


def nginx_config(consortium: Consortium) -> str:
    """The text of ``nginx.conf``, with paths relative to the coordinator's folder."""
    return render(
        "nginx.conf",
        name=consortium.name,
        host=consortium.host,
        listen=listen_address(consortium.host, consortium.port),
        superlink_port=consortium.superlink_port,
        mutual_map=MUTUAL_MAP if consortium.mutual_tls else "",
        mutual_tls=MUTUAL_TLS if consortium.mutual_tls else "",
    )


def listen_address(host: str, port: int) -> str:
    """Where the proxy listens: loopback where the host is that, else every address.

    The host itself may be a router's address or a name that this machine does not have.
    """
    if is_loopback(host):
        return address(local_address(host), port)
    return f"[::]:{port}" if bracketed(host) != host else str(port)


def local_address(host: str) -> str:
    """The address by which the proxy's own machine reaches it."""
    if is_loopback(host) and host.lower() != "localhost":
        return host
    return "::1" if bracketed(host) != host else "127.0.0.1"
