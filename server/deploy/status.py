"""``fedrounds server status``: what the coordinator's folder and the SuperLink say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from common.errors import ProcessError
from common.journal import read_lines
from common.processes import is_held
from server.deploy.control import Control, NodeState, key_bytes
from server.deploy.events import EVENTS
from server.deploy.serve import LOCK, RUNS
from server.provision.consortium import Consortium

SCHEMA = 1
SHOWN_RUNS = 10


def look(consortium: Consortium) -> dict[str, Any]:
    """Everything that is known, ready for JSON; nothing is changed or started."""
    running = is_held(consortium.folder / LOCK)
    nodes = _nodes(consortium) if running else None
    runs = [_run(Path(line["output_dir"])) for line in _known_runs(consortium)]
    errors = [run["error"] for run in runs if run["error"]]
    return {
        "schema": SCHEMA,
        "name": consortium.name,
        "address": consortium.address,
        "running": running,
        "certificate_expires": consortium.certificate_expiry().strftime("%Y-%m-%dT%H:%M:%SZ"),
        "sites": [_site(site, consortium, nodes) for site in consortium.sites],
        "runs": runs,
        "last_error": errors[-1] if errors else None,
    }


def _nodes(consortium: Consortium) -> list[NodeState] | None:
    """What the SuperLink knows; ``None`` while it does not answer."""
    try:
        with Control(consortium.superlink_port, consortium.ca_certificate) as control:
            return control.nodes()
    except ProcessError:
        return None


def _site(site: str, consortium: Consortium, nodes: list[NodeState] | None) -> dict[str, Any]:
    path = consortium.registered_keys().get(site)
    facts: dict[str, Any] = {
        "name": site,
        "registered": path is not None,
        "online": None,
        "last_online": None,
    }
    if path is not None and nodes is not None:
        key = key_bytes(path)
        for node in nodes:
            if node.public_key == key:
                facts["online"] = node.status == "online"
                facts["last_online"] = node.last_online or None
    return facts


def _known_runs(consortium: Consortium) -> list[dict[str, Any]]:
    """The newest runs, each once, the newest last."""
    latest = {line["output_dir"]: line for line in read_lines(consortium.folder / RUNS)}
    return sorted(latest.values(), key=lambda line: str(line["time"]))[-SHOWN_RUNS:]


def _run(folder: Path) -> dict[str, Any]:
    events = read_lines(folder / EVENTS)
    joined = [e for e in events if e["event"] == "joined"]
    rounds = [e for e in events if e["event"] == "round"]
    ends = [e for e in events if e["event"] == "ended"]
    last = events[-1] if events else None
    ended = last is not None and last["event"] == "ended"
    return {
        "output_dir": str(folder),
        "rounds": max((e["round"] for e in rounds), default=0),
        "sites": sorted({e["site"] for e in joined}),
        "evaluate_only": rounds[-1]["evaluate_only"]
        if rounds
        else {e["site"]: e["evaluate_only"] for e in joined if "evaluate_only" in e},
        "left_out": rounds[-1]["refused"] if rounds else {},
        "last_event": last["time"] if last else None,
        "ended": ended,
        "complete": ended and last is not None and last["exit_code"] == 0,
        "error": ends[-1]["error"] if ends else None,
    }


def print_status(status: dict[str, Any]) -> None:
    """The same for a person."""
    console = Console(soft_wrap=True)
    state = "running" if status["running"] else "not running"
    console.print(
        f"{status['name']} at {status['address']}: the server is {state}; the first certificate "
        f"ends on {status['certificate_expires'][:10]}",
        highlight=False,
    )
    sites = Table("site", "key", "connected", "last came")
    for site in status["sites"]:
        online = {None: "unknown", True: "yes", False: "no"}[site["online"]]
        key = "registered" if site["registered"] else "none"
        sites.add_row(site["name"], key, online, site["last_online"] or "")
    console.print(sites)
    if not status["runs"]:
        console.print("no run yet", highlight=False)
        return
    runs = Table("run", "rounds", "sites", "last heard", "state")
    for run in status["runs"]:
        state = "complete" if run["complete"] else run["error"] or "not ended"
        reasons = run["evaluate_only"]
        names = (f"{s} (evaluates: {reasons[s]})" if s in reasons else s for s in run["sites"])
        runs.add_row(
            Path(run["output_dir"]).name, str(run["rounds"]), ", ".join(names),
            run["last_event"] or "", state,
        )  # fmt: skip
    console.print(runs)
