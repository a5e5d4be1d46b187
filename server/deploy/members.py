"""Who may connect: the public keys in the coordinator's folder, made known to the SuperLink."""

from __future__ import annotations

from common.journal import Journal
from server.deploy.control import Control, key_bytes
from server.provision.consortium import Consortium


def synchronise(control: Control, consortium: Consortium, journal: Journal) -> dict[int, str]:
    """Register every key that is registered in the folder, and unregister every other node.

    Flower never takes a key again that it has unregistered, so a revoked one cannot come back.

    Returns:
        Node id to site, of all that may connect now.
    """
    wanted = {key_bytes(path): site for site, path in consortium.registered_keys().items()}
    registered: dict[int, str] = {}
    for node in control.nodes():
        if node.public_key in wanted:
            registered[node.node_id] = wanted.pop(node.public_key)
        else:
            control.unregister(node.node_id)
            journal.audit("unregistered", site=node.name, node=str(node.node_id))
    for key, site in wanted.items():
        node_id = control.register(site, key)
        registered[node_id] = site
        journal.audit("registered", site=site, node=str(node_id))
    return registered
