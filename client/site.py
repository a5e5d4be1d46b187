"""A site's folder: its settings, its policy, and what it may be asked.

``site.yaml`` is the site's own file: where its images are, what it declares in public, what it
releases. It is read with a safe loader, and nothing in it is ever sent.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from client.ledger import Ledger
from client.policy import Policy
from common.checks import check_source
from common.config import SITE_NAME, SITE_NAME_RULE, Experiment, SourceSettings
from common.data.manifest import Manifest
from common.data.split import Part, rows_of_part
from common.data.table import read_manifest
from common.errors import PolicyError, SettingsError
from common.schema import build


@dataclass(frozen=True)
class SiteSettings:
    """The whole of ``site.yaml``."""

    name: str
    data: SourceSettings
    policy: Policy
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
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(f"{path}: expected a site's settings: {error.strerror}") from error
        except yaml.YAMLError as error:
            raise SettingsError(f"{path}: expected YAML: {error}") from error
        settings = build(SiteSettings, values)
        problems = check_source(settings.data) + settings.policy.problems()
        if not SITE_NAME.fullmatch(settings.name):
            problems.append(f"{path}: name: expected {SITE_NAME_RULE}, got '{settings.name}'")
        if problems:
            raise SettingsError(problems)
        return Site(folder, settings)

    @property
    def name(self) -> str:
        return self.settings.name

    def manifest(self, experiment: Experiment) -> Manifest:
        """All of the site's images for this experiment's task."""
        return read_manifest(self.settings.data, experiment.data, experiment.classes)

    def rows_of(self, manifest: Manifest, part: Part) -> NDArray[np.int64]:
        """Rows of one part, int64 (m,).

        A patient's part depends on its own id and on the site's own constants. Nothing that a
        server sends can move a patient from training to test: its ε of both would add.
        """
        data = self.settings.data
        fractions = data.test_fraction, data.validation_fraction
        return rows_of_part(manifest.patients, part, data.split_key, *fractions)

    def public_patients(self) -> int:
        """The declared count.

        Raises:
            PolicyError: where none is declared; under privacy nothing may be derived from the data.
        """
        count = self.settings.policy.public_patients
        if count is None:
            raise PolicyError("policy.public_patients must be given: a public count of patients")
        return count

    def unit(self, experiment: Experiment) -> str:
        """What one ε is about here: what the id column identifies, or the image.

        Raises:
            PolicyError: where patients are to be protected and none can be told apart.
        """
        if experiment.privacy.unit == "image":
            return "image"
        if self.settings.data.patient_column is None:
            raise PolicyError(
                "privacy=patient needs data.patient_column in this site's site.yaml; without it "
                "each image would pass for a patient"
            )
        return self.settings.data.unit_name

    def split_digest(self) -> str:
        """SHA-256 of what places patients in parts; the ledger holds it from its first entry."""
        data = self.settings.data
        text = f"{data.split_key}\n{data.test_fraction!r}\n{data.validation_fraction!r}"
        return hashlib.sha256(text.encode()).hexdigest()

    def ledger(self) -> Ledger:
        folder = Path(self.settings.ledger_dir) if self.settings.ledger_dir else self.folder
        return Ledger(folder, self.settings.genesis, self.split_digest())
