"""What one run is, for the server: settings in, an outcome out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from common.config import Experiment, KeepRule
from common.histograms import Histograms
from common.messages import Description
from common.metrics import Counts, OperatingPoint
from common.metrics.bootstrap import Replicates
from common.statement import PrivacyStatement, ReleaseStatement
from common.subgroups import SiteGroups
from server.strategies import Models


class Progress(Protocol):
    """Is told of each step as it happens."""

    def described(self, descriptions: Mapping[str, Description]) -> None:
        """The sites are known."""

    def round_done(self, line: Mapping[str, Any]) -> None:
        """A round ended; ``line`` is what ``rounds.jsonl`` got."""


class Silent:
    """Progress that nobody watches."""

    def described(self, descriptions: Mapping[str, Description]) -> None: ...

    def round_done(self, line: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True)
class Job:
    """One run of one experiment.

    Attributes:
        experiment: what is sent to every site.
        run_id: names the run in every message and ledger.
        num_sites: nodes to wait for before round 1.
        output_dir: where ``rounds.jsonl`` and ``checkpoint/`` go.
        evaluate_every: rounds between two evaluations on the validation part.
        quorum: least answers for a round to be applied; ``None`` means more than half.
        resume: go on from the last committed round.
        wait_seconds: how long to wait for the nodes.
        progress: is told of each step.
        witness: file that remembers each site's ledger; by default in ``output_dir``.
        deadline_seconds: how long to wait for answers in one exchange; ``None`` waits for all.
        keep: which round's models the run ends with.
        average_decay: β of a moving average, where that is kept.
        pretrained: file of the weights that a new run starts from; ``None`` draws them.
        registered: node id to the site whose key it proved to have; ``None`` takes every node's
            word for its name, as a simulation can.
    """

    experiment: Experiment
    run_id: str
    num_sites: int
    output_dir: Path
    evaluate_every: int = 1
    quorum: int | None = None
    resume: bool = False
    wait_seconds: float = 120.0
    progress: Progress = field(default_factory=Silent)
    witness: Path | None = None
    deadline_seconds: float | None = None
    keep: KeepRule = "last"
    average_decay: float = 0.9
    pretrained: str | None = None
    registered: Mapping[int, str] | None = None


@dataclass(frozen=True)
class Outcome:
    """What a run left behind.

    Attributes:
        descriptions: each site's own, by name.
        models: the final models by name, those that were scored.
        scored: names of the sets of figures (``Strategy.tested``).
        operating_points: name of a set of figures to what was fitted on validation patients, where
            it was.
        test_counts: name of a set of figures to site name to counts on the site's test patients.
        test_replicates: the same of their bootstrap replicates.
        test_histograms: the same of the sites that release noised ones.
        test_subgroups: the same of what each site says of groups of metadata.
        statements: what each site's ledger says; empty without privacy.
        releases: what noised counts have cost the test patients of a site.
        evaluate_only: sites that did not train to the end, to the round from which and why.
        kept_round: the round that the models are of.
        rounds_applied: how many of the planned rounds were.
        incomplete: what a complete run would have had and this one lacks, a line each.
        bytes_down: payload sent to sites.
        bytes_up: payload received.
        train_seconds: wall time until the last round was committed, over all the run's starts.
        earlier_seconds: what starts before this one took of it.
    """

    descriptions: Mapping[str, Description]
    models: Models
    scored: tuple[str, ...]
    operating_points: Mapping[str, OperatingPoint]
    test_counts: Mapping[str, Mapping[str, Counts]]
    test_replicates: Mapping[str, Mapping[str, Replicates]]
    test_histograms: Mapping[str, Mapping[str, Histograms]]
    test_subgroups: Mapping[str, Mapping[str, SiteGroups]]
    statements: Mapping[str, PrivacyStatement]
    releases: Mapping[str, ReleaseStatement]
    evaluate_only: Mapping[str, tuple[int, str]]
    kept_round: int
    rounds_applied: int
    incomplete: tuple[str, ...]
    bytes_down: int
    bytes_up: int
    train_seconds: float
    earlier_seconds: float
