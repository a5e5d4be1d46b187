"""A site's folder: its settings, its policy, and what it may be asked.

``site.yaml`` is the site's own file: where its images are, what it declares in public, what it
releases. It is read with a safe loader, and nothing in it is ever sent.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from client.ledger import Ledger
from client.policy import Policy
from common.checks import check_pool, check_source
from common.config import SITE_NAME, SITE_NAME_RULE, Experiment, SourceSettings
from common.data.dicom import Rendering
from common.data.identity import identified
from common.data.images import rendering_of
from common.data.kept_tables import manifest_of_site
from common.data.labels import has_several_labels
from common.data.manifest import Manifest
from common.data.partition import rows_by_site, site_names
from common.data.pool import PoolSettings
from common.data.split import PARTS, Part, rows_of_part
from common.errors import PolicyError, SettingsError
from common.schema import build, read_yaml


@dataclass(frozen=True)
class SiteSettings:
    """The whole of ``site.yaml``."""

    name: str
    data: SourceSettings
    policy: Policy
    partition: PoolSettings | None = None
    """A simulation's: the site is the share of that name in a pool that ``data`` describes."""
    ledger_dir: str | None = None
    """Folder of the ledger and its key; by default the site's own folder."""
    genesis: str | None = None
    """Hash of the ledger's first entry; ``fedrounds ledger init`` writes it."""


@dataclass(frozen=True)
class Site:
    """A site's folder, opened."""

    folder: Path
    settings: SiteSettings

    @staticmethod
    def open(folder: Path) -> Site:  # a site is opened, as a file is
        """Read ``site.yaml``.

        Raises:
            SettingsError: where it is missing, no YAML, or holds an unknown or wrong setting.
        """
        path = folder / "site.yaml"
        settings = build(SiteSettings, read_yaml(path, "a site's settings"))
        problems = check_source(settings.data) + settings.policy.problems()
        if settings.partition is not None:
            problems += check_pool(settings.partition)
            if settings.name not in site_names(settings.partition):
                problems.append(f"{path}: partition has no site '{settings.name}'")
        if not SITE_NAME.fullmatch(settings.name):
            problems.append(f"{path}: name: expected {SITE_NAME_RULE}, got '{settings.name}'")
        if problems:
            raise SettingsError(problems)
        return Site(folder, settings)

    @property
    def name(self) -> str:
        return self.settings.name

    def manifest(self, experiment: Experiment) -> Manifest:
        """All of the site's images for this experiment's task.

        Raises:
            DataError: where they cannot be used.
        """
        settings = self.settings
        return self.identified(
            manifest_of_site(
                settings.data, settings.partition, self.name, experiment.data, experiment.classes
            )
        )

    def share(self, manifest: Manifest) -> Manifest:
        """This site's part of the images that its ``data`` describe: all but in a simulation."""
        pool = self.settings.partition
        if pool is None:
            return manifest
        return manifest.take(rows_by_site(manifest, pool, self.settings.data.split_key)[self.name])

    def identified(self, manifest: Manifest) -> Manifest:
        """The images that have a patient id, or all where this site tells no patients apart.

        Raises:
            DataError: where the policy refuses images without one.
        """
        if self.own_unit == "image":
            return manifest
        return identified(manifest, self.settings.policy.missing_patient)

    @property
    def rendering(self) -> Rendering:
        """How the site's files are read, and whether images that show text are refused."""
        return replace(
            rendering_of(self.settings.data),
            burned_in=self.settings.policy.burned_in_annotation == "allow",
        )

    def check(self, experiment: Experiment) -> None:
        """Refuse to train what the site does not allow.

        Raises:
            PolicyError: naming what came and what is allowed.
        """
        self.check_task(experiment)
        self.settings.policy.check(experiment)
        data = self.settings.data
        if data.test_fraction + data.validation_fraction >= 1:
            raise PolicyError("every patient of this site is for evaluation: it trains nothing")
        if not experiment.privacy.enabled and self.settings.genesis is not None:
            raise PolicyError(
                "training without privacy at a site with a ledger: its ε would bound nothing"
            )

    def check_task(self, experiment: Experiment) -> None:
        """Refuse to train or evaluate on labels that the site does not have, as it declares them.

        Decided from ``site.yaml`` alone: an answer that followed from the table would say who has
        which label.

        Raises:
            PolicyError: naming what is allowed.
        """
        policy, task = self.settings.policy, experiment.data
        if policy.classes and experiment.classes != policy.classes:
            raise PolicyError(
                f"classes: the site allows {', '.join(policy.classes)}, in this order, and the "
                f"experiment has {', '.join(experiment.classes)}"
            )
        single = not has_several_labels(self.settings.data)
        if (
            policy.release_metrics == "exact"
            and policy.min_count > 0
            and (experiment.multi_label is single or (single and task.negative_label is not None))
        ):
            raise PolicyError(
                "multi_label or negative_label differs from the site's own labels: the counts of "
                "a class that is withheld would follow from the others"
            )

    def rows_of(self, manifest: Manifest, part: Part) -> NDArray[np.int64]:
        """Rows of one part, int64 (m,).

        A patient's part depends on its own id and on the site's own constants. Nothing that a
        server sends can move a patient from training to test: its ε of both would add.
        """
        data = self.settings.data
        fractions = data.test_fraction, data.validation_fraction
        return rows_of_part(manifest.patients, part, data.split_key, *fractions)

    def draw(self, part: Part | Literal["all"]) -> tuple[str, str]:
        """Key and label of the bootstrap's draws from a part: the same for every model and run."""
        return self.settings.data.split_key, f"{self.name} {part}"

    def parts_of(self, manifest: Manifest) -> list[str]:
        """The part that each row's patient is in."""
        names = np.full(len(manifest), "", dtype=object)
        for part in PARTS:
            names[self.rows_of(manifest, part)] = part
        return list(names)

    def public_patients(self) -> int:
        """The declared count.

        Raises:
            PolicyError: where none is declared; under privacy nothing may be derived from the data.
        """
        count = self.settings.policy.public_patients
        if count is None:
            raise PolicyError("policy.public_patients must be given: a public count of patients")
        return count

    @property
    def own_unit(self) -> str:
        """What the site's rows can tell apart: what its id column identifies, or the image."""
        data = self.settings.data
        return "image" if data.patient_column is None else data.unit_name

    def unit(self, experiment: Experiment) -> str:
        """What one ε is about here.

        Raises:
            PolicyError: where patients are to be protected and none can be told apart, or images
                where patients can.
        """
        if (experiment.privacy.unit == "image") is not (self.own_unit == "image"):
            raise PolicyError(
                f"privacy={experiment.privacy.unit} does not fit this site's data.patient_column="
                f"{self.settings.data.patient_column}: with one the unit is the patient, without "
                "one it is the image"
            )
        return self.own_unit

    def split_digest(self) -> str:
        """SHA-256 of what places patients in parts, and of the images that are left out.

        The ledger holds it from its first entry. A list of exclusions that was made later could
        have been chosen by looking across patients, or on results.
        """
        data = self.settings.data
        facts: list[object] = [
            data.split_key,
            data.test_fraction,
            data.validation_fraction,
            data.patient_column,
            data.unit_name,
            sorted(set(data.exclude)),
        ]
        if self.settings.partition is not None:  # whose ε one ledger is about must not change
            facts.append(self.settings.partition)
        text = "\n".join(map(repr, facts))
        return hashlib.sha256(text.encode()).hexdigest()

    def ledger(self) -> Ledger:
        folder = Path(self.settings.ledger_dir) if self.settings.ledger_dir else self.folder
        return Ledger(folder, self.settings.genesis, self.split_digest())
