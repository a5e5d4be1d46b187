"""From one simulation's settings to a folder for each site, as a real hospital would have it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from client.init import begin_ledger
from client.policy import Policy
from client.site import Site, SiteSettings
from common.config import Experiment, Settings, SourceSettings, TaskSettings
from common.data.labels import is_multi_label
from common.data.manifest import Manifest
from common.data.medmnist import download
from common.data.pool import PartitionSettings
from common.data.records import root_of
from common.data.split import PARTS, Part
from common.errors import DataError, OneClassError, SettingsError
from common.models import build_model
from common.schema import narrow, suggest, to_plain
from server.strategies import build_strategy
from simulations.division import Division
from simulations.hospitals import write_hospitals

PublicCounts = int | Mapping[str, int] | None


@dataclass(frozen=True)
class SimulatedSite:
    """A site before its folder is written.

    Attributes:
        settings: what its ``site.yaml`` will hold.
        manifest: its images.
        parts: each part's manifest.
    """

    settings: SiteSettings
    manifest: Manifest
    parts: Mapping[Part, Manifest]

    @property
    def name(self) -> str:
        return self.settings.name


@dataclass(frozen=True)
class Cohorts:
    """Every site of a simulation and the experiment that they share."""

    experiment: Experiment
    sites: tuple[SimulatedSite, ...]
    unit: str
    classes_derived: bool
    public_patients_derived: bool
    released_metrics: str
    partition: PartitionSettings

    def shared_units(self) -> list[str]:
        """Ids that stand at two sites or more; each of those patients spends ε at both."""
        seen = Counter(p for site in self.sites for p in set(site.manifest.patients))
        return sorted(patient for patient, sites in seen.items() if sites > 1)

    def warnings(self) -> list[str]:
        """What is odd at one site alone: it trains, but some of its figures will be missing."""
        lines = []
        if self.partition.name != "natural" and len(self.sites) < self.partition.sites:
            lines.append(
                f"{self.partition.sites - len(self.sites)} sites of the partition got no "
                f"{self.unit}; a larger partition.alpha makes the sites more alike"
            )
        for site in self.sites:
            if not len(site.parts["test"]):
                lines.append(f"{site.name}: no test {self.unit}, so no metrics")
            if site.settings.data.test_fraction == 1:
                lines.append(f"{site.name} is held out: it evaluates and trains nothing")
                continue
            present = site.parts["train"].classes_present()
            if len(present) < min(2, len(self.experiment.classes)):
                lines.append(
                    f"{site.name}: only one class to train on ({', '.join(present) or 'none'})"
                )
        return lines

    def result_facts(self) -> dict[str, Any]:
        """What the result says of the simulation itself."""
        shared = self.shared_units()
        return {
            "unit": self.unit,
            "exact_counts": True,
            "released_metrics": self.released_metrics,
            "classes_derived": self.classes_derived,
            "public_patients_derived": self.public_patients_derived,
            "partition": to_plain(self.partition),
            "units_at_two_sites": {"count": len(shared), "unit": self.unit},
        }


def prepare_cohorts(settings: Settings, workspace: Path) -> Cohorts:
    """Find the sites, read their tables and check the pool; writes nothing but phantom images.

    Args:
        settings: the simulation's.
        workspace: where phantom hospitals are written, under ``hospitals/``.

    Raises:
        DataError: naming what cannot be used.
        SettingsError: where public counts do not fit the sites.
    """
    data = settings.data
    if data.phantom and data.root is None:
        root = workspace / "hospitals"
        if not (workspace / "config.yaml").exists():  # a run that goes on has them already
            write_hospitals(root, settings.seed)
        data = replace(data, root=str(root))
    if data.download:
        download(Path(data.root or ""), data.table)
    source = narrow(SourceSettings, data, root=str(root_of(data).resolve()))
    division = Division.of(source, settings)
    classes = data.classes or division.classes(data)
    task = narrow(TaskSettings, data, classes=classes, multi_label=is_multi_label(source, data))
    experiment = settings.shared(task)
    build_model(experiment)
    build_strategy(experiment)
    public = _public_counts(settings.privacy.public_patients, division)
    sites = tuple(
        _site(name, division, manifest, settings, public)
        for name, manifest in division.manifests(task, classes).items()
    )
    cohorts = Cohorts(
        experiment,
        sites,
        "image" if data.patient_column is None else data.unit_name,
        data.classes is None,
        public is None,
        settings.privacy.release_metrics,
        settings.partition
        if division.pool is None
        else narrow(PartitionSettings, settings.partition, seed=division.pool.seed),
    )
    _check_policies(cohorts)
    _check_pool(cohorts)
    return cohorts


def write_site_folders(cohorts: Cohorts, folder: Path) -> list[Path]:
    """Write ``folder/SITE/site.yaml`` for each site; from here on, a site is that folder alone.

    A site that will need a ledger gets one, or goes on with the one in its ``ledger_dir``. A
    folder that is there already belongs to a run that goes on, and is left as it is.
    """
    paths = []
    for site in cohorts.sites:
        path = folder / site.name
        paths.append(path)
        if (path / "site.yaml").exists():
            continue
        path.mkdir(parents=True, exist_ok=True)
        settings = site.settings
        if cohorts.experiment.privacy.enabled or settings.policy.release_metrics == "noised":
            settings = replace(settings, genesis=begin_ledger(Site(path, settings)))
        text = yaml.safe_dump(to_plain(settings), sort_keys=False)
        (path / "site.yaml").write_text(text, encoding="utf-8")
    return paths


def _site(
    name: str,
    division: Division,
    manifest: Manifest,
    settings: Settings,
    public: PublicCounts,
) -> SimulatedSite:
    source, privacy, ledger_dir = division.sources[name], settings.privacy, settings.ledger_dir
    given = Policy("none", missing_patient=privacy.missing_patient)
    opened = Site(Path(), SiteSettings(name, source, given))
    manifest = opened.identified(manifest)
    rows = {part: opened.rows_of(manifest, part) for part in PARTS}
    parts = {part: manifest.take(rows[part]) for part in PARTS}
    if public is None:  # derived from the data: allowed in a simulation, which says so
        declared = len(set(parts["train"].patients))
    else:
        declared = public if isinstance(public, int) else public[name]
    policy = Policy(
        privacy.release_metrics,
        public_patients=max(1, declared),
        epsilon_max=privacy.epsilon_max,
        delta=privacy.delta if privacy.epsilon_max or privacy.evaluation_epsilon else None,
        min_count=privacy.min_count,
        subgroups={c: settings.evaluation.subgroups[c] for c in privacy.subgroups},
        evaluation_epsilon=privacy.evaluation_epsilon,
        train_without_privacy=True,
        missing_patient=privacy.missing_patient,
        burned_in_annotation=privacy.burned_in_annotation,
        label_conflicts=privacy.label_conflicts,
    )
    ledger = str(Path(ledger_dir).resolve() / name) if ledger_dir else None
    own = SiteSettings(name, source, policy, division.pool, ledger)
    return SimulatedSite(own, manifest, parts)


def _public_counts(public: PublicCounts, division: Division) -> PublicCounts:
    """The counts that the sites declare; ``None`` where they have to be derived from the data.

    Counts of the data's own sites say nothing of those that a pool was divided into.

    Raises:
        SettingsError: where one of the data's own sites has none.
    """
    if public is None or isinstance(public, int):
        return public
    lacking = [name for name in division.sources if name not in public]
    if lacking and division.pool is None:
        raise SettingsError(
            [
                f"privacy.public_patients: no count for the site '{name}'{suggest(name, public)}"
                for name in lacking
            ]
        )
    return None if lacking else public


def _check_policies(cohorts: Cohorts) -> None:
    """What the sites' policies hold against themselves, in the simulation's words."""
    lines = {line for site in cohorts.sites for line in site.settings.policy.problems()}
    if lines:
        raise SettingsError(sorted(line.replace("policy.", "privacy.") for line in lines))


def _check_pool(cohorts: Cohorts) -> None:
    """What no federation can do without: two classes to learn, and somebody to test on."""
    experiment, sites = cohorts.experiment, cohorts.sites
    present = {c for site in sites for c in site.manifest.classes_present()}
    needed = 1 if experiment.multi_label else 2
    if len(present) < needed:
        raise OneClassError(
            f"expected images of at least two classes over all sites, found {sorted(present)}"
        )
    for part in ("train", "test"):
        if not any(len(site.parts[part]) for site in sites):
            raise DataError(
                f"no {cohorts.unit} of any site is in the {part} part; use more "
                "data, or another data.test_fraction"
            )
