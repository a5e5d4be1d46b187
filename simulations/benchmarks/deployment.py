"""What a round costs over real processes: seconds, and the memory of each process.

    python -m simulations.benchmarks.deployment [--json] [rounds=10]

A server and three sites on this machine, over TLS and nginx, without privacy, two steps a round.
The small model trains in no time, so that its rounds are what the deployment itself costs; the
large one has 100 MB of arrays, which go to each site and come back. A round trains, and evaluates
on the validation part.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from common.errors import ProcessError
from common.journal import read_lines
from simulations.benchmarks.command import no_more, run, take_count, take_json
from simulations.benchmarks.timing import Timing, tell
from simulations.loopback import Loopback, Process, family_of, terminate

WORDS = ("experiment=phantom", "privacy=none", "local_steps=2", "strategy.batch_size=8")
MODELS = {
    "small model": ("model.width=8",),
    "100 MB model": ("model=resnet18", "model.width=96"),
}
ROUNDS = 10
LARGE_ROUNDS = 1
LOOK_SECONDS = 0.5
ROLES = {
    "-m fedrounds report": "report, at the end",
    "-m fedrounds": "fedrounds",
    "flower-superlink": "SuperLink",
    "flwr-serverapp": "ServerApp",
    "server.deploy.superexec": "SuperExec",
    "nginx": "nginx",
    "client.deploy.supernode": "SuperNode",
    "client.deploy.tasks": "tasks",
    "multiprocessing.forkserver": "fork server and ClientApp",
    "common.data.decoding.worker": "decoding",
}
"""What is in a process's command, to what it is called here; the first that fits, or ``other``."""

Peaks = dict[str, float]
"""MiB at most, by process: ``server: SuperLink``; of a site's the largest of the three."""


def main(words: Sequence[str]) -> None:
    """Measure and print."""
    as_json, words = take_json(words)
    rounds, words = take_count(words, "rounds", ROUNDS)
    no_more(words, "rounds=N", "--json")
    counts = dict(zip(MODELS, (rounds, LARGE_ROUNDS), strict=True))
    timings: list[Timing] = []
    memory: dict[str, Peaks] = {}
    with tempfile.TemporaryDirectory() as folder:
        world = Loopback(Path(folder))
        world.make("127.0.0.1")
        try:
            for name, model in MODELS.items():
                world.start_sites()
                peaks = memory[name] = {}
                seconds = _run(world, name, [*model, f"rounds={counts[name]}"], peaks)
                middle = statistics.median(seconds)
                timings.append(Timing(name, middle, min(seconds), max(seconds), len(seconds)))
        finally:
            for client in world.clients.values():
                terminate(client)
    tell("a round", timings, as_json, **({"mebibytes": memory} if as_json else {}))
    if not as_json:
        _print(memory)


def _run(world: Loopback, name: str, words: Sequence[str], peaks: Peaks) -> list[float]:
    """Seconds of each round of a run, and the memory of every process into ``peaks``.

    Raises:
        ProcessError: where the run did not complete.
    """
    run = name.replace(" ", "-")
    with world.server(run, *WORDS, *words) as server:
        owners = {server.pid: "server"} | {c.pid: "site" for c in world.clients.values()}
        with _watched(owners, peaks):
            code = server.wait()
    if code:
        raise ProcessError(f"the run ended with {code}: {(world.base / f'{run}.out').read_text()}")
    return [float(line["seconds"]) for line in read_lines(world.base / run / "rounds.jsonl")]


@contextmanager
def _watched(owners: Mapping[int, str], peaks: Peaks) -> Iterator[None]:
    """Look at the processes of ``owners`` in a thread, and keep the largest figures."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_SECONDS):
            for pid, owner in owners.items():
                for role, mib in _by_role(family_of(pid)).items():
                    key = f"{owner}: {role}"
                    peaks[key] = max(peaks.get(key, 0.0), mib)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _by_role(family: Sequence[Process]) -> Peaks:
    found: Peaks = {}
    for process in family:
        role = next((name for words, name in ROLES.items() if words in process.words), "other")
        found[role] = found.get(role, 0.0) + process.resident_kib / 1024
    return found


def _print(memory: Mapping[str, Peaks]) -> None:
    table = Table("process", *memory, title="MiB at most, shared pages counted in each")
    for process in sorted({process for peaks in memory.values() for process in peaks}):
        table.add_row(process, *(f"{peaks.get(process, 0):,.0f}" for peaks in memory.values()))
    Console(soft_wrap=True, width=140).print(table)


if __name__ == "__main__":
    run(main)
