"""A job as a file: what ``fedrounds server`` leaves for the ServerApp, a process of its own.

Flower would carry settings in the run's configuration, but hands that to every site too. So the
bundle says nothing at all: the coordinator's paths, and which other sites there are, stay there.
"""

from __future__ import annotations

import os
from pathlib import Path

from common.checkpoint import read_json, write_json
from common.checks import parse_experiment
from common.errors import CheckpointError
from server.job import Job, Progress

JOB_FILE = "FEDROUNDS_JOB"
"""Names the file, in the environment of the SuperExec that starts the ServerApp."""


def write_job(path: Path, job: Job, attempt: str = "") -> None:
    """Write everything but the progress, which is made anew where the job is read.

    Args:
        path: the file.
        job: the run.
        attempt: marks this start's events.
    """
    write_json(
        path,
        {
            "attempt": attempt,
            "experiment": job.experiment.to_yaml(),
            "run_id": job.run_id,
            "num_sites": job.num_sites,
            "output_dir": str(job.output_dir),
            "evaluate_every": job.evaluate_every,
            "quorum": job.quorum,
            "resume": job.resume,
            "wait_seconds": job.wait_seconds,
            "witness": None if job.witness is None else str(job.witness),
            "deadline_seconds": job.deadline_seconds,
            "keep": job.keep,
            "average_decay": job.average_decay,
            "pretrained": job.pretrained,
            "registered": None
            if job.registered is None
            else {str(node_id): site for node_id, site in job.registered.items()},
        },
    )


def read_attempt(path: Path) -> str:
    """Which start of a server wrote the job.

    Raises:
        CheckpointError: where it cannot be read.
    """
    return str(read_json(path).get("attempt", ""))


def read_job(path: Path, progress: Progress) -> Job:
    """Read what :func:`write_job` wrote.

    Raises:
        CheckpointError: where it cannot be read.
    """
    facts = read_json(path)
    try:
        registered = facts["registered"]
        return Job(
            experiment=parse_experiment(facts["experiment"]),
            run_id=facts["run_id"],
            num_sites=facts["num_sites"],
            output_dir=Path(facts["output_dir"]),
            evaluate_every=facts["evaluate_every"],
            quorum=facts["quorum"],
            resume=facts["resume"],
            wait_seconds=facts["wait_seconds"],
            progress=progress,
            witness=None if facts["witness"] is None else Path(facts["witness"]),
            deadline_seconds=facts["deadline_seconds"],
            keep=facts["keep"],
            average_decay=facts["average_decay"],
            pretrained=facts["pretrained"],
            registered=None
            if registered is None
            else {int(node_id): site for node_id, site in registered.items()},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: expected the job of a run: {error}") from error


def job_file() -> Path:
    """The file that this process's environment names.

    Raises:
        CheckpointError: where it names none: the ServerApp was not started by this project.
    """
    name = os.environ.get(JOB_FILE)
    if not name:
        raise CheckpointError(
            f"{JOB_FILE} is not set: start the run with 'fedrounds server COORDINATOR'"
        )
    return Path(name)
