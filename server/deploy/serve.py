"""One run of a consortium, from its settings to its report.

1. the SuperLink is started; runs that a crash left unfinished are stopped
2. the registered keys are made known to it
3. the run's folder is written, as a simulation writes it; then the proxy shows the sites in
4. the SuperExec is started, and the run: its ServerApp is ``server/app.py``
5. events are told as they come; what ends is started again; revoked keys are turned away
6. the report and the model card are written
"""

from __future__ import annotations

import hashlib
import time
import uuid
from dataclasses import dataclass

import yaml

from common.checkpoint import read_json, write_json
from common.config import Experiment, Settings, TaskSettings
from common.data.labels import is_multi_label
from common.errors import IncompleteRunError, SettingsError
from common.journal import Follower, Journal, append_line
from common.models import build_model
from common.processes import Children, only_one, terminated_like_ctrl_c
from common.schema import narrow, to_plain
from common.start import Run
from server.deploy.bundle import build_bundle
from server.deploy.control import Control
from server.deploy.events import EVENTS, describe, result_lines
from server.deploy.jobfile import write_job
from server.deploy.members import synchronise
from server.deploy.options import ServerOptions, choose_sites
from server.deploy.report import write_report
from server.deploy.superlink import CoordinatorProcesses
from server.deploy.watch import Watch
from server.job import Job
from server.pretrained import initial_arrays
from server.provision.consortium import Consortium, utc_now
from server.state import begun_sites
from server.strategies import build_strategy
from server.tracking import Tracker, open_tracker, require_tracker

LOCK = "server.lock"
RUNS = "runs.jsonl"
"""Each run that was started or resumed, and where its folder is."""

SOON_DAYS = 30
LOOK_SECONDS = 0.3


@dataclass(frozen=True)
class Ended:
    """How a ServerApp ended: the exit code of its error, and its text."""

    exit_code: int
    error: str | None


def serve(consortium: Consortium, run: Run, options: ServerOptions) -> Ended:
    """Run one experiment with the sites of a consortium.

    Returns:
        How the ServerApp ended.

    Raises:
        FedroundsError: where a process does not start, or the ServerApp left no word.
        KeyboardInterrupt: on Ctrl-C or SIGTERM, with every process ended.
    """
    experiment = shared_experiment(run.settings)
    if not run.resume:
        initial_arrays(experiment, run.settings.model.pretrained)  # or nothing is started
    require_tracker(run.settings.tracker)
    journal = Journal(consortium.folder)
    with (
        terminated_like_ctrl_c(),
        only_one(consortium.folder / LOCK, "a server"),
        Children(journal) as children,
    ):
        journal.audit("started", run_id=run.run_id, resume=run.resume)
        try:
            ended = _serve(consortium, run, options, experiment, journal, children)
        except BaseException as error:
            reason = str(error) or type(error).__name__
            journal.audit("stopped", run_id=run.run_id, reason=reason)
            raise
    journal.audit("ended", run_id=run.run_id, exit_code=ended.exit_code)
    return ended


def shared_experiment(settings: Settings) -> Experiment:
    """What every site is sent, from settings that name the classes.

    Raises:
        SettingsError: where there is no such model or strategy.
    """
    data = settings.data
    task = narrow(TaskSettings, data, multi_label=is_multi_label(data, data))
    experiment = settings.shared(task)
    build_model(experiment)
    build_strategy(experiment)
    return experiment


def _serve(
    consortium: Consortium, run: Run, options: ServerOptions, experiment: Experiment,
    journal: Journal, children: Children,
) -> Ended:  # fmt: skip
    _check_certificates(consortium, journal)
    processes = CoordinatorProcesses(consortium, children, options.proxy)
    processes.start_superlink()  # 1
    with Control(consortium.superlink_port, consortium.ca_certificate) as control:
        control.stop_unfinished()
        registered = synchronise(control, consortium, journal)  # 2
        begun = begun_sites(run.output_dir) if run.resume else ()
        nodes = choose_sites(options, registered, consortium, begun)
        settings = run.settings
        job = Job(
            experiment=experiment,
            run_id=run.run_id,
            num_sites=len(nodes),
            output_dir=run.output_dir,
            evaluate_every=settings.evaluate_every,
            quorum=settings.quorum,
            keep=settings.keep,
            average_decay=settings.average_decay,
            pretrained=settings.model.pretrained,
            resume=run.resume,
            wait_seconds=options.wait_seconds,
            witness=consortium.folder / "witness.json",
            deadline_seconds=settings.deadline_seconds,
            registered=nodes,
        )
        attempt = uuid.uuid4().hex
        _write_folder(run, job, attempt)  # 3
        append_line(
            consortium.folder / RUNS, {"run_id": run.run_id, "output_dir": str(run.output_dir)}
        )
        events = Follower(run.output_dir / EVENTS, from_start=False)
        processes.start_proxy()
        where = consortium.address if options.proxy else f"127.0.0.1:{consortium.superlink_port}"
        journal.say(f"serving at {where}; waiting for {', '.join(sorted(nodes.values()))}")
        processes.start_superexec(run.output_dir / "job.json")  # 4
        bundle = build_bundle()
        flower_run = control.start(hashlib.sha256(bundle).hexdigest(), bundle)
        watch = Watch(consortium, processes, control, journal, flower_run)
        with open_tracker(
            settings.tracker, experiment, run.run_id, run.output_dir, journal.say
        ) as tracker:
            ended = _follow(events, attempt, watch, journal, tracker, experiment.rounds)  # 5
            written = run.output_dir / "result.json"
            result = read_json(written) if written.exists() else None
            if result is not None:
                tracker.ended(result)
    if result is not None:
        for line in result_lines(result):  # 6
            journal.say(line)
        write_report(run.output_dir, journal)
    return ended


def _check_certificates(consortium: Consortium, journal: Journal) -> None:
    """Refuse to start with certificates that every site will refuse.

    Raises:
        SettingsError: where one has ended.
    """
    left = consortium.certificate_expiry() - utc_now()
    renew = f"'fedrounds provision renew {consortium.folder}' makes new ones"
    if left.total_seconds() <= 0:
        raise SettingsError(f"a certificate of this consortium has ended; {renew}")
    if left.days < SOON_DAYS:
        journal.say(f"warning: a certificate ends in {left.days} days; {renew}")


def _follow(
    events: Follower, attempt: str, watch: Watch, journal: Journal, tracker: Tracker, rounds: int
) -> Ended:
    """Tell the run's events until its ServerApp has ended.

    Raises:
        IncompleteRunError: where Flower ended the run and the ServerApp left no word.
    """
    finished = None
    while True:
        for event in events.new():
            if event["attempt"] != attempt:
                continue
            if event["event"] == "ended":
                return Ended(event["exit_code"], event["error"])
            journal.say(describe(event, rounds), **event)
            if event["event"] == "round":
                tracker.round_done(event)
        if finished is not None:  # and the events were read once more since
            raise IncompleteRunError(f"the ServerApp ended without a result: {finished}")
        finished = watch.look()
        time.sleep(LOOK_SECONDS)


def _write_folder(run: Run, job: Job, attempt: str) -> None:
    """What a simulation writes before it trains, and the job; a run that goes on has the first."""
    folder = run.output_dir
    if not run.resume:
        folder.mkdir(parents=True, exist_ok=True)
        config = yaml.safe_dump(to_plain(run.settings), sort_keys=False, allow_unicode=True)
        (folder / "config.yaml").write_text(config, encoding="utf-8")
        write_json(folder / "run.json", {"run_id": run.run_id})
    write_job(folder / "job.json", job, attempt)
