"""Mutual TLS for a SuperNode, which cannot present a certificate of its own (Flower 1.41).

.. code-block:: text

    SuperNode ── TLS, loopback ──> forwarder ── TLS with node.crt ──> the coordinator's proxy

A thread of the client's process. The port is bound before the SuperNode starts and for as long as
it runs, so nobody else can take it. Flower signs calls only over TLS: the loopback half has a
certificate of its own, made at each start.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import threading
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from client.deploy.certificate import load_pair, tls_context
from client.deploy.consortium import Membership
from common.errors import ProcessError
from common.journal import Journal

LOOPBACK = "127.0.0.1"
LIFE = timedelta(days=3650)
CHUNK = 1 << 16
START_SECONDS = 10.0


class Forwarder:
    """Carries bytes between loopback and the coordinator until it is closed."""

    def __init__(self, folder: Path, membership: Membership, journal: Journal) -> None:
        """Open the port.

        Args:
            folder: the site's folder.
            membership: whom the site is connected with.
            journal: where failures are logged.

        Raises:
            SettingsError: where the site's certificate cannot be used.
            ProcessError: where no port can be opened.
        """
        self.certificate = folder / "flower" / "loopback.crt"
        """What the SuperNode checks the loopback half against."""
        self.failure = ""
        """Why the coordinator could not be reached, the last time; empty once it could."""
        self._host, self._port = membership.host, membership.port
        self._journal = journal
        self._outward = tls_context(folder, membership)
        self._inward = self._own_context(folder)
        self._ready: Future[int] = Future()
        self._thread = threading.Thread(target=self._run, name="forwarder", daemon=True)
        self._thread.start()
        try:
            self.address = f"{LOOPBACK}:{self._ready.result(START_SECONDS)}"
        except (OSError, TimeoutError) as error:
            raise ProcessError(f"no port for the forwarder could be opened: {error}") from error

    def close(self) -> None:
        """Close the port and every connection."""
        with suppress(RuntimeError):  # its loop has ended by itself
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as error:
            self._ready.set_exception(error)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._forward, LOOPBACK, 0, ssl=self._inward)
        self._ready.set_result(server.sockets[0].getsockname()[1])
        await self._stop.wait()
        server.close()  # the connections end with the loop

    async def _forward(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it."""
        writers = [back]
        try:
            far, out = await asyncio.open_connection(self._host, self._port, ssl=self._outward)
            writers.append(out)
            self.failure = ""
            tasks = [asyncio.create_task(copy) for copy in (_copy(near, out), _copy(far, back))]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
        except OSError as error:
            self.failure = str(error)
            self._journal.output("forwarder", f"the coordinator was not reached: {error}")
        finally:
            for writer in writers:
                writer.close()

    def _own_context(self, folder: Path) -> ssl.SSLContext:
        """The loopback half's certificate, which is written for the SuperNode, and its key."""
        key = ec.generate_private_key(ec.SECP384R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fedrounds forwarder")])
        here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + LIFE)
            .add_extension(here, critical=False)
            .sign(key, hashes.SHA384())
            .public_bytes(Encoding.PEM)
        )
        self.certificate.parent.mkdir(exist_ok=True)
        self.certificate.write_bytes(certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        load_pair(context, certificate, key, folder)
        return context


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):  # either side may break off at any time
        while data := await source.read(CHUNK):
            target.write(data)
            await target.drain()
