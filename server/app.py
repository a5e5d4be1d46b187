"""The ServerApp, thin: a job from the run's configuration, the loop, and the result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from common.checks import parse_experiment
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
def main(grid: Grid, context: Context) -> None:
    """A ServerApp for real processes: everything it needs stands in the run's configuration."""
    config = context.run_config
    job = Job(
        experiment=parse_experiment(str(config["experiment-yaml"])),
        run_id=str(config["run-id"]),
        num_sites=int(config["num-sites"]),
        output_dir=Path(str(config["output-dir"])),
        resume=bool(config.get("resume", False)),
    )
    job.output_dir.mkdir(parents=True, exist_ok=True)
    write_outcome(job, run_rounds(grid, job))
