"""The coordinator's three processes: SuperLink, SuperExec, proxy.

.. code-block:: text

    sites ── TLS ──> nginx (the network; /v1/fleet/ alone) ── TLS ──> SuperLink (127.0.0.1)
                                                                           ^
                              SuperExec, which starts the ServerApp ── TLS ┘

Of Flower 1.41 this relies on: node authentication (``--enable-supernode-auth``) refusing every node
whose key was not registered before; the database bringing registered nodes through a restart; and
process isolation, where the ServerApp outlives a SuperLink that is killed and started again.
"""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import sys
from http.client import HTTPException, HTTPSConnection
from pathlib import Path

from common.errors import ProcessError, SettingsError
from common.flower import flower_environment
from common.processes import Child, Children, is_listening, new_secret, wait_until
from server.deploy.jobfile import JOB_FILE
from server.provision.consortium import Consortium
from server.provision.proxy import local_address

START_SECONDS = 60.0


class CoordinatorProcesses:
    """Starts the three, and starts again whichever ends while it is still needed."""

    MAX_RESTARTS = 10

    def __init__(self, consortium: Consortium, children: Children, proxy: bool) -> None:
        """Name the processes; nothing is started yet.

        Args:
            consortium: the coordinator's folder.
            children: whom they end with.
            proxy: whether this machine's nginx is started too.
        """
        self._consortium = consortium
        self._children = children
        self._proxy = proxy
        self._folder = consortium.folder / "flower"
        self._environment = flower_environment(self._folder)
        self._secret = new_secret(self._folder / "superexec.secret")
        self._running: dict[str, Child] = {}
        self.restarts = 0

    def start_superlink(self) -> None:
        """Start the SuperLink and wait until it answers.

        Raises:
            ProcessError: where it does not.
        """
        consortium = self._consortium
        if is_listening(consortium.superlink_port):
            raise ProcessError(
                f"port {consortium.superlink_port} of this machine is taken: expected it free for "
                "the SuperLink; end what holds it, or set superlink_port in consortium.yaml"
            )
        words = [
            *("flower-superlink", "--host", "127.0.0.1"),
            *("--port", str(consortium.superlink_port)),
            *("--ssl-ca-certfile", str(consortium.ca_certificate)),
            *("--ssl-certfile", str(consortium.superlink_certificate)),
            *("--ssl-keyfile", str(consortium.superlink_key)),
            "--enable-supernode-auth",
            *("--database", str(self._folder / "superlink.db")),
            *("--isolation", "process"),
            *("--superexec-auth-secret-file", str(self._secret)),
        ]
        child = self._children.start("superlink", words, self._environment, self._folder)
        self._running["superlink"] = child
        wait_until(
            lambda: _answers(consortium.superlink_port, consortium.ca_certificate),
            child, START_SECONDS, "the SuperLink",
        )  # fmt: skip

    def start_proxy(self) -> None:
        """Start nginx, where this machine runs it.

        Raises:
            SettingsError: where it is not installed.
            ProcessError: where it does not start.
        """
        if not self._proxy:
            return
        executable = shutil.which("nginx") or shutil.which(
            "nginx", path="/usr/sbin:/usr/local/sbin"
        )
        if executable is None:
            raise SettingsError(
                "nginx is not installed here: install it (apt-get install nginx-light), or set "
                "proxy=false where another process forwards /v1/fleet/ to the SuperLink"
            )
        port, address = self._consortium.port, local_address(self._consortium.host)
        if is_listening(port, address):
            raise ProcessError(f"port {port} of this machine is taken: expected it free for nginx")
        words = self._consortium.nginx_command(executable)
        child = self._children.start(
            "proxy", words, os.environ, self._consortium.folder, end_with=signal.SIGTERM
        )
        self._running["proxy"] = child
        wait_until(lambda: is_listening(port, address), child, 15.0, "nginx")

    def start_superexec(self, job_file: Path) -> None:
        """Start what starts the ServerApp of the job in ``job_file``."""
        words = [
            *(sys.executable, "-m", "server.deploy.superexec"),
            *(f"127.0.0.1:{self._consortium.superlink_port}", str(self._consortium.ca_certificate)),
            str(self._secret),
        ]
        environment = {**self._environment, JOB_FILE: str(job_file)}
        self._running["superexec"] = self._children.start(
            "superexec", words, environment, self._folder
        )

    def revive(self) -> list[str]:
        """Start again the SuperLink or the proxy, where one has ended; returns their names.

        Raises:
            ProcessError: where it happens too often, or to the SuperExec, whose ServerApp ends
                with it.
        """
        dead = [name for name, child in self._running.items() if child.exit_code is not None]
        for name in dead:
            words = self._running[name].words()
            self.restarts += 1
            if name == "superexec" or self.restarts > self.MAX_RESTARTS:
                raise ProcessError(f"the {name} ended: {words}")
            self._children.stop(self._running[name])
            if name == "superlink":
                self.start_superlink()
            else:
                self.start_proxy()
        return dead

    def reload_proxy(self) -> None:
        """Have nginx read again whom it lets in."""
        if "proxy" in self._running:
            self._running["proxy"].process.send_signal(signal.SIGHUP)


def _answers(port: int, ca_certificate: Path) -> bool:
    """Whether the SuperLink speaks TLS with a certificate of the consortium's CA."""
    context = ssl.create_default_context(cafile=str(ca_certificate))
    connection = HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
    try:
        connection.request("GET", "/health")
        connection.getresponse().read()
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
    return True
