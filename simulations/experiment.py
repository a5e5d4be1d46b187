"""One experiment on this machine, end to end."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from flwr.serverapp import ServerApp
from rich.console import Console

from client.gate.notes import notes
from client.site import Site
from client.site_images import SiteImages
from common.checkpoint import write_json
from common.config import Experiment, Settings
from common.data.split import PARTS
from common.errors import FedroundsError, IncompleteRunError, JoinError
from common.schema import to_plain
from common.start import Run
from server.app import build_server_app
from server.counts_file import write_counts
from server.job import Job, Outcome
from server.pretrained import initial_arrays
from server.results import build_result, write_model
from server.tracking import TrackedProgress, Tracker, open_tracker, require_tracker
from simulations.console import ConsoleProgress, print_result, privacy_line
from simulations.report.page import write_report
from simulations.sites import Cohorts, prepare_cohorts, write_site_folders
from simulations.warm import sites_at_once, warm_up


def simulate(run: Run, console: Console) -> dict[str, Any]:
    """Run one experiment and write everything under its output folder.

    Returns:
        What ``result.json`` holds.

    Raises:
        FedroundsError: with nothing written where the input was at fault.
    """
    started = time.monotonic()
    settings, folder = run.settings, run.output_dir
    warm_up(settings)
    require_tracker(settings.tracker)
    console.print(privacy_line(settings), highlight=False)
    with _all_or_nothing(folder):
        cohorts = prepare_cohorts(settings, folder)
        if not run.resume:
            initial_arrays(cohorts.experiment, settings.model.pretrained)  # or nothing is written
        _describe(cohorts, console)
        sites = write_site_folders(cohorts, folder / "sites")
        config = yaml.safe_dump(to_plain(settings), sort_keys=False, allow_unicode=True)
        (folder / "config.yaml").write_text(config, encoding="utf-8")
        write_json(folder / "run.json", {"run_id": run.run_id})

    with open_tracker(
        settings.tracker, cohorts.experiment, run.run_id, folder, console.print
    ) as tracker:
        result = _train(run, cohorts, sites, console, tracker, started)
        tracker.ended(result)
    for site in sites:
        for line in notes(site):  # a real site keeps them to itself
            console.print(f"  {site.name}: {line}", highlight=False, markup=False)
        shutil.rmtree(site / "cache", ignore_errors=True)
    print_result(console, result)
    console.print(f"report: {folder / 'report.html'}", highlight=False)
    return result


def _train(
    run: Run,
    cohorts: Cohorts,
    sites: list[Path],
    console: Console,
    tracker: Tracker,
    started: float,
) -> dict[str, Any]:
    settings, folder = run.settings, run.output_dir
    outcomes: list[Outcome] = []
    with ConsoleProgress(console, settings.rounds) as progress:
        job = Job(
            experiment=cohorts.experiment,
            run_id=run.run_id,
            num_sites=len(sites),
            output_dir=folder,
            evaluate_every=settings.evaluate_every,
            quorum=settings.quorum,
            keep=settings.keep,
            average_decay=settings.average_decay,
            pretrained=settings.model.pretrained,
            resume=run.resume,
            progress=TrackedProgress(progress, tracker),
            witness=_witness(settings),
        )
        try:
            _engine(settings)(build_server_app(job, outcomes.append), sites)
        except FedroundsError as error:
            text = _with_site_errors(str(error), sites)
            if isinstance(error, JoinError) and not run.resume:
                shutil.rmtree(folder)
            raise type(error)(text) from error
    if not outcomes:
        raise IncompleteRunError(f"the engine ended without a result; see {folder}")
    outcome = outcomes[0]
    write_model(job, outcome)
    write_counts(job, outcome)
    answered = [site for site in sites if site.name in outcome.descriptions]
    facts = {site.name: _site_facts(site, cohorts.experiment) for site in answered}
    seconds = outcome.earlier_seconds + time.monotonic() - started
    result = build_result(job, outcome, facts, seconds)
    result["simulation"] = cohorts.result_facts()
    write_json(folder / "result.json", result)
    write_report(folder)
    return result


def _site_facts(folder: Path, experiment: Experiment) -> dict[str, Any]:
    """Who trained and was tested at a site, in exact numbers that only a simulation may tell.

    ``images`` and their ``patients`` by part are those that are used; ``images_refused`` cannot be
    read or show text, ``images_repeated`` repeat another of the same patient.
    """
    images = SiteImages.load(Site.open(folder), experiment)
    patients = {part: images.patients(part) for part in PARTS}
    used = {part: sum(map(len, rows)) for part, rows in patients.items()}
    readable = len(images.manifest) - len(images.unreadable)
    return {
        "patients": {part: len(rows) for part, rows in patients.items()},
        "images": used,
        "images_refused": len(images.unreadable) + len(images.headless),
        "images_repeated": readable - sum(used.values()),
    }


def _witness(settings: Settings) -> Path | None:
    """Where ledgers last over several runs, what was seen of them lasts too."""
    return Path(settings.ledger_dir) / "witness.json" if settings.ledger_dir else None


def _engine(settings: Settings) -> Callable[[ServerApp, list[Path]], None]:
    engine, threads = settings.engine, settings.threads
    if engine.name == "ray":
        from simulations.ray import run_in_ray

        return lambda server_app, sites: run_in_ray(server_app, sites, engine, threads)
    from simulations.inprocess import balanced_workers, run_in_process

    def run(server_app: ServerApp, sites: list[Path]) -> None:
        workers = engine.workers or balanced_workers(len(sites), sites_at_once(settings))
        run_in_process(server_app, sites, workers)

    return run


@contextmanager
def _all_or_nothing(folder: Path) -> Iterator[None]:
    """Where a new run cannot be set up, what was written for it goes again."""
    is_new = not (folder / "config.yaml").exists()
    try:
        yield
    except BaseException:
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _describe(cohorts: Cohorts, console: Console) -> None:
    unit = cohorts.unit
    for site in cohorts.sites:
        train, test = site.parts["train"], site.parts["test"]
        console.print(
            f"  {site.name}: {len(site.manifest)} images; {len(set(train.patients))} {unit}s "
            f"train, {len(set(test.patients))} test",
            highlight=False,
        )
    for warning in cohorts.warnings():
        console.print(f"warning: {warning}", highlight=False)
    shared = cohorts.shared_units()
    if shared:
        console.print(
            f"warning: {len(shared)} {unit}s stand at two sites; the ε of both add for them",
            highlight=False,
        )


def _with_site_errors(text: str, sites: list[Path]) -> str:
    """A simulation may read what a real site keeps to itself: the text behind its code."""
    lines = [text]
    for site in sites:
        path = site / "errors.jsonl"
        if path.exists():
            last = json.loads(path.read_text(encoding="utf-8").splitlines()[-1])
            lines.append(f"{site.name}: {last['text']}")
    return "\n".join(lines)
