"""A whole consortium on this machine: for the deployment's tests, and to measure it.

Three phantom hospitals with few patients; each process is a command, as a person would start it.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from client.deploy.keys import make_key
from common.compose import load_settings
from common.node_keys import NODE_PUBLIC_KEY
from common.processes import free_port
from server.provision.consortium import utc_now
from server.provision.create import create
from server.provision.members import register
from server.provision.settings import ProvisionSettings
from simulations.hospitals import SMALL_HOSPITALS, write_hospitals
from simulations.sites import prepare_cohorts, write_site_folders

COMMAND = (sys.executable, "-m", "fedrounds")
SITES = tuple(sorted(hospital.name for hospital in SMALL_HOSPITALS))
STOP_SECONDS = 30.0


@dataclass
class Loopback:
    """The folders of a consortium and of its sites, and the processes of the sites."""

    folder: Path
    clients: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def hospitals(self) -> Path:
        """The images: a folder a site."""
        return self.folder / "hospitals"

    @property
    def base(self) -> Path:
        """What ``fedrounds provision`` writes; runs are put beside it."""
        return self.folder / "consortium"

    @property
    def coordinator(self) -> Path:
        return self.base / "coordinator"

    def kit(self, site: str) -> Path:
        return self.base / "kits" / site

    def make(self, host: str) -> None:
        """Write the hospitals, the consortium and its kits, filled in, with registered keys."""
        write_hospitals(self.hospitals, 0, SMALL_HOSPITALS)
        words = ["experiment=phantom", "privacy=none", f"data.root={self.hospitals}"]
        cohorts = prepare_cohorts(
            load_settings([*words, "privacy.public_patients=30"]), self.folder
        )
        settings = ProvisionSettings(
            sites=SITES, host=host, port=free_port(), superlink_port=free_port(),
            output_dir=str(self.base), zip=False,
        )  # fmt: skip
        create(settings, utc_now())
        for folder in write_site_folders(cohorts, self.folder / "sites"):
            kit = self.kit(folder.name)
            shutil.copytree(folder, kit, dirs_exist_ok=True)  # a site.yaml that was filled in
            make_key(kit, kit.name)
            key = kit / NODE_PUBLIC_KEY
            register(self.coordinator, kit.name, key, utc_now(), new_key=False)

    def start_site(self, site: str) -> None:
        self.clients[site] = spawn(["client", str(self.kit(site))], self.base / f"{site}.out")

    def start_sites(self) -> None:
        """Those that do not run yet."""
        for site in SITES:
            if site not in self.clients:
                self.start_site(site)

    @contextmanager
    def server(self, run: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """A server for the run in ``run``, with these settings; ended with the block."""
        output = f"output_dir={self.base / run}"
        process = spawn(["server", str(self.coordinator), *words, output], self.base / f"{run}.out")
        try:
            yield process
        finally:
            terminate(process)


@dataclass(frozen=True)
class Process:
    """A process that has not ended."""

    pid: int
    parent: int
    resident_kib: int
    """Memory, with what it shares with others."""
    words: str
    """Its command."""


def spawn(words: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start ``fedrounds WORDS``; what it prints is added to ``log``."""
    with log.open("ab") as stream:
        return subprocess.Popen(
            [*COMMAND, *words], stdout=stream, stderr=subprocess.STDOUT, cwd=log.parent
        )


def terminate(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and wait for the end."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    process.wait(STOP_SECONDS)


def processes() -> list[Process]:
    """Every process of this machine."""
    words = ["ps", "-A", "-ww", "-o", "pid=,ppid=,rss=,stat=,args="]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    rows = [line.split(maxsplit=4) for line in done.stdout.splitlines()]
    return [
        Process(int(pid), int(parent), int(kib), args)
        for pid, parent, kib, state, args in rows
        if not state.startswith("Z")
    ]


def family_of(pid: int) -> list[Process]:
    """A process, and everything that it started, directly or not."""
    every, known = processes(), {pid}
    while more := {p.pid for p in every if p.parent in known} - known:
        known |= more
    return [p for p in every if p.pid in known]
