"""An MLflow run: in a local SQLite file, or wherever ``MLFLOW_TRACKING_URI`` says.

The file is ``mlflow.db`` beside the run's folder, so that all runs of a folder are compared in it:
``mlflow ui --backend-store-uri sqlite:///runs/mlflow.db`` (of the whole ``mlflow`` package).
MLflow's own telemetry, which would go over the network, is turned off.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read when mlflow is imported
# A tracking server that is down must not hold a round up for minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")

from mlflow import MlflowClient
from mlflow.entities import Metric

from common.config import Experiment
from server.tracking.values import parameters

RUN_ID = "fedrounds.run_id"
MOST_AT_ONCE = 500
_UNUSUAL = re.compile(r"[^\w\-. :/]")
"""What may not stand in a metric's name."""


class MLflow:
    """One run, found again by the run's id where it goes on."""

    def __init__(self, experiment: Experiment, run_id: str, folder: Path) -> None:
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        local = f"sqlite:///{(folder.parent / 'mlflow.db').resolve()}"
        self._client = MlflowClient(tracking_uri=os.environ.get("MLFLOW_TRACKING_URI", local))
        found = self._client.get_experiment_by_name(experiment.name)
        place = found.experiment_id if found else self._client.create_experiment(experiment.name)
        runs = self._client.search_runs([place], f"tags.`{RUN_ID}` = '{run_id}'", max_results=1)
        if runs:
            self._run = runs[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
            return
        made = self._client.create_run(place, tags={RUN_ID: run_id}, run_name=folder.name)
        self._run = made.info.run_id
        for key, text in parameters(experiment).items():
            self._client.log_param(self._run, key, text)

    def log(self, values: Mapping[str, float], server_round: int) -> None:
        now = int(1000 * time.time())
        metrics = [
            Metric(_UNUSUAL.sub("_", name), value, now, server_round)
            for name, value in values.items()
        ]
        for start in range(0, len(metrics), MOST_AT_ONCE):
            self._client.log_batch(self._run, metrics=metrics[start : start + MOST_AT_ONCE])

    def close(self, complete: bool) -> None:
        self._client.set_terminated(self._run, "FINISHED" if complete else "FAILED")
