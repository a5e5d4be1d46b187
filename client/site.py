"""A site's folder: its settings, its policy, and what it may be asked.

``site.yaml`` is the site's own file: where its images are, what it declares in public, what it
releases. It is read with a safe loader, and nothing in it is ever sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import yaml
from numpy.typing import NDArray

from client.ledger import Ledger
from common.config import Experiment, SourceSettings
from common.data.manifest import Manifest
from common.data.split import Part, rows_of_part
from common.data.table import read_manifest
from common.errors import PolicyError, SettingsError
from common.schema import build


@dataclass(frozen=True)
class Policy:
    """What the site declares and allows; the server cannot loosen it."""

    public_patients: int | None = None
    """Public count of the patients that train here, declared once; not computed from the data."""
    release_metrics: Literal["none", "exact"] = "none"
    """``exact`` counts leave uncovered by any ε, and are listed in ``disclosure.jsonl``."""


@dataclass(frozen=True)
class SiteSettings:
    """The whole of ``site.yaml``."""

    name: str
    data: SourceSettings
    policy: Policy = field(default_factory=Policy)
    ledger_dir: str | None = None
    """Folder of the ledger; by default the site's own folder."""


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
        return Site(folder, build(SiteSettings, values))

    @property
    def name(self) -> str:
        return self.settings.name

    def manifest(self, experiment: Experiment) -> Manifest:
        """All of the site's images for this experiment's task."""
        return read_manifest(self.settings.data, experiment.data, experiment.classes)

    def rows_of(self, manifest: Manifest, part: Part, experiment: Experiment) -> NDArray[np.int64]:
        """Rows of one part, int64 (m,); a patient's part depends on its own id alone."""
        task, key = experiment.data, self.settings.data.split_key
        fractions = task.test_fraction, task.validation_fraction
        return rows_of_part(manifest.patients, part, key, *fractions)

    def public_patients(self) -> int:
        """The declared count.

        Raises:
            PolicyError: where none is declared; under privacy nothing may be derived from the data.
        """
        count = self.settings.policy.public_patients
        if count is None or count < 1:
            raise PolicyError(
                f"policy.public_patients: expected a public count of patients, got {count}"
            )
        return count

    def ledger(self) -> Ledger:
        folder = Path(self.settings.ledger_dir) if self.settings.ledger_dir else self.folder
        return Ledger(folder / "ledger.sqlite")
