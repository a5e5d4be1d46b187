"""What a finished run left in its folder, as the report and the model card read it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from common.checkpoint import read_json
from common.compose import settings_from_plain
from common.config import Experiment, Settings, TaskSettings
from common.errors import CheckpointError, SettingsError
from common.schema import narrow
from simulations.report.text import pooled_metrics

AUDITS = "audit*/audit.json"
"""Where ``fedrounds audit output_dir=RUN/audit…`` leaves its verdicts."""


@dataclass(frozen=True)
class FinishedRun:
    """The files of one run.

    Attributes:
        folder: the run's.
        result: ``result.json``.
        rounds: the lines of ``rounds.jsonl``.
        config: ``config.yaml``, as it stands.
        settings: the same, typed.
        audits: what audits into this folder found.
    """

    folder: Path
    result: Mapping[str, Any]
    rounds: tuple[Mapping[str, Any], ...]
    config: str
    settings: Settings
    audits: tuple[Mapping[str, Any], ...]

    @staticmethod
    def read(folder: Path) -> FinishedRun:
        """Read a run's folder.

        Raises:
            CheckpointError: where it holds no finished run.
        """
        result = read_json(folder / "result.json")
        try:
            lines = (folder / "rounds.jsonl").read_text(encoding="utf-8").splitlines()
            rounds = tuple(json.loads(line) for line in lines)
            config = (folder / "config.yaml").read_text(encoding="utf-8")
            settings = settings_from_plain(yaml.safe_load(config), has_data="simulation" in result)
        except (OSError, ValueError, yaml.YAMLError, SettingsError) as error:
            raise CheckpointError(
                f"{folder}: expected rounds.jsonl and config.yaml of a run: {error}"
            ) from error
        return FinishedRun(
            folder=folder,
            result=result,
            rounds=rounds,
            config=config,
            settings=settings,
            audits=tuple(read_json(path) for path in sorted(folder.glob(AUDITS))),
        )

    @property
    def experiment(self) -> Experiment:
        """What the sites were sent, but for classes that a simulation may have derived."""
        return self.settings.shared(narrow(TaskSettings, self.settings.data))

    @property
    def sites(self) -> Sequence[Mapping[str, Any]]:
        """Each site's part of the result."""
        return list(self.result["sites"])

    @property
    def simulated(self) -> bool:
        """Whether one machine played all the sites."""
        return "simulation" in self.result

    @property
    def private_sites(self) -> list[Mapping[str, Any]]:
        """The sites whose training is covered by an ε."""
        return [site for site in self.sites if site["privacy"]]

    @property
    def unit(self) -> str:
        """What one ε is about, or what an id identifies: a server knows it from a ledger alone."""
        if self.simulated:
            return str(self.result["simulation"]["unit"])
        units = [site["privacy"]["unit"] for site in self.private_sites]
        return str(units[0]) if units else "patient"

    @property
    def models(self) -> Mapping[str, Mapping[str, Any]]:
        """Pooled test figures of each model; the run's own has no name."""
        models = pooled_metrics(self.result)
        return {name: metrics for name, metrics in models.items() if metrics}
