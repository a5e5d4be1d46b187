"""The ServerApp, thin: a job, the loop, and the result."""

from __future__ import annotations

from collections.abc import Callable

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from server.deploy.delivery import attentive
from server.deploy.events import Events
from server.deploy.jobfile import job_file, read_attempt, read_job
from server.job import Job, Outcome
from server.results import write_outcome
from server.rounds import run_rounds


def build_server_app(job: Job, on_outcome: Callable[[Outcome], None]) -> ServerApp:
    """A ServerApp for a job that is already at hand, as a simulation has it."""
    server_app = ServerApp()

    @server_app.main()
    def main(grid: Grid, context: Context) -> None:  # noqa: ARG001
        on_outcome(run_rounds(grid, job))

    return server_app


app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:  # noqa: ARG001
    """A ServerApp for real processes: its job is the file that the environment names.

    Flower 1.41 ends a run as ``completed`` whatever happened in it, and keeps what is printed to
    itself, so how it ended is written to the run's events as well.
    """
    path = job_file()
    events = Events(path.parent, read_attempt(path))
    try:
        job = read_job(path, events)
        write_outcome(job, run_rounds(attentive(grid), job))
    except BaseException as error:
        events.ended(error)
        raise
    events.ended(None)
