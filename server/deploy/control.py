"""Flower's Control API, in the one place that uses it.

The API authenticates nobody: whoever reaches the SuperLink's port may start runs and register
nodes. So the port is on loopback alone (``superlink.py``), and the proxy forwards ``/v1/fleet/``.
``ControlHttpClient`` is not public in Flower 1.41; its command line makes the same calls, with a
Python start of 1.5 s for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from flwr.common.serde import fab_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from common.errors import ProcessError, SettingsError

FINISHED = "finished"


@dataclass(frozen=True)
class NodeState:
    """A node that is registered."""

    node_id: int
    name: str
    public_key: bytes
    status: str
    """``registered`` (never came), ``online`` or ``offline``."""
    last_online: str


@dataclass(frozen=True)
class RunStatus:
    """One of Flower's runs."""

    run_id: int
    status: str
    details: str


class Control:
    """A client of the SuperLink on this machine; a context manager."""

    def __init__(self, port: int, ca_certificate: Path) -> None:
        self._client = ControlHttpClient.from_server_address(
            f"127.0.0.1:{port}",
            insecure=False,
            root_certificates=ca_certificate.read_bytes(),
            interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr CLI")],
        )

    def __enter__(self) -> Control:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def nodes(self) -> list[NodeState]:
        """Every node but those that were unregistered."""
        response = self._call("ListNodes", ListNodesRequest())
        return [
            NodeState(n.node_id, n.name, n.public_key, n.status, n.last_activated_at)
            for n in response.nodes_info
            if n.status != "unregistered"
        ]

    def register(self, name: str, public_key: bytes) -> int:
        """Let a node in; returns its id."""
        request = RegisterNodeRequest(public_key=public_key, name=name)
        return int(self._call("RegisterNode", request).node_id)

    def unregister(self, node_id: int) -> None:
        """Let a node in no more: its next call is answered with 401."""
        self._call("UnregisterNode", UnregisterNodeRequest(node_id=node_id))

    def start(self, fab_hash: str, bundle: bytes) -> int:
        """Start a run; returns Flower's id of it."""
        request = StartRunRequest(fab=fab_to_proto(Fab(fab_hash, bundle, {})))
        response = self._call("StartRun", request)
        if not response.HasField("run_id"):
            raise ProcessError("the SuperLink did not take the run")
        return int(response.run_id)

    def runs(self) -> list[RunStatus]:
        response = self._call("ListRuns", ListRunsRequest())
        return [
            RunStatus(run_id, run.status.status, run.status.details)
            for run_id, run in response.run_dict.items()
        ]

    def stop_unfinished(self) -> int:
        """Stop every run that has not finished; returns how many there were."""
        unfinished = [run for run in self.runs() if run.status != FINISHED]
        for run in unfinished:
            self._call("StopRun", StopRunRequest(run_id=run.run_id))
        return len(unfinished)

    def _call(self, method: str, request: Any) -> Any:
        try:
            return getattr(self._client, method)(request)
        except httpx.HTTPStatusError as error:
            raise ProcessError(
                f"the SuperLink refused {method}: {error.response.text[:300]}"
            ) from error
        except httpx.HTTPError as error:
            raise ProcessError(f"the SuperLink does not answer {method}: {error}") from error


def key_bytes(path: Path) -> bytes:
    """A public key's file as Flower stores it.

    Raises:
        SettingsError: where it holds no EC public key in OpenSSH's format.
    """
    try:
        key = load_ssh_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: expected a public key in OpenSSH's format") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise SettingsError(f"{path}: expected an EC P-384 public key")
    return bytes(public_key_to_bytes(key))
