"""Which sites a simulation has: those that the data have, or one pool divided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common.config import SITE_NAME, SITE_NAME_RULE, Settings, SourceSettings, TaskSettings
from common.data.labels import derive_classes
from common.data.layouts import read_manifest, read_records
from common.data.manifest import Manifest
from common.data.partition import rows_by_site, site_names
from common.data.pool import PartitionSettings, PoolSettings
from common.data.records import root_of
from common.errors import DataError, SettingsError
from common.schema import narrow, suggest

LAST = "last"


@dataclass(frozen=True)
class Division:
    """Where each site's images come from, before any of them is read.

    Attributes:
        sources: site name to that site's own source; all the same where a pool is divided.
        pool: how that pool is divided; ``None`` where the data have their own sites.
    """

    sources: Mapping[str, SourceSettings]
    pool: PoolSettings | None

    @staticmethod
    def of(source: SourceSettings, settings: Settings) -> Division:
        """Find the sites, and set the held-out one apart.

        Raises:
            DataError: where there is none, or a name cannot be used.
            SettingsError: where the site to hold out is none of them, or the only one.
        """
        partition = settings.partition
        if partition.name == "natural":
            division = Division(find_sources(source), None)
        else:
            seed = settings.seed if partition.seed is None else partition.seed
            pool = narrow(PoolSettings, partition, seed=seed)
            whole = pooled(source)
            division = Division(dict.fromkeys(site_names(pool), whole), pool)
        return division._holding_out(partition)

    def classes(self, task: TaskSettings) -> tuple[str, ...]:
        """The classes that stand in the labels of all sites."""
        sources = list(self.sources.values())
        different = sources[:1] if self.pool else sources
        rows = [record.cells for source in different for record in read_records(source)]
        return derive_classes(rows, sources[0], task)

    def manifests(self, task: TaskSettings, classes: tuple[str, ...]) -> dict[str, Manifest]:
        """Each site's images. A pool's site that no patient fell to is left out."""
        if self.pool is None:
            return {n: read_manifest(s, task, classes) for n, s in self.sources.items()}
        source = next(iter(self.sources.values()))
        whole = read_manifest(source, task, classes)
        rows = rows_by_site(whole, self.pool, source.split_key)
        return {name: whole.take(rows[name]) for name in self.sources if len(rows[name])}

    def _holding_out(self, partition: PartitionSettings) -> Division:
        """All patients of the site that is held out are for testing: it evaluates and never trains.

        A pool's held-out site has its own shares as well, so it is a source of its own.
        """
        if partition.held_out is None:
            return self
        names = sorted(self.sources)
        name = names[-1] if partition.held_out == LAST else partition.held_out
        if name not in names:
            raise SettingsError(
                f"partition.held_out: there is no site '{name}'{suggest(name, names)}"
            )
        if len(names) < 2:
            raise SettingsError(
                f"partition.held_out: '{name}' is the only site, so none would train; divide it, "
                "as partition=iid partition.held_out=last"
            )
        apart = replace(self.sources[name], test_fraction=1.0, validation_fraction=0.0)
        return replace(self, sources={**self.sources, name: apart})


def find_sources(source: SourceSettings) -> dict[str, SourceSettings]:
    """Site name to that site's own source: by the site column, or each folder with the table.

    A folder of images that no column divides is one site.
    """
    root, column = root_of(source), source.site_column
    if column is not None:
        names = sorted({record.cells[column] for record in read_records(source)})
        found = {name: replace(source, site_value=name) for name in names}
    elif source.layout in ("folder", "dicom") or "*" in source.table:
        found = {root.name: source}
    else:
        found = {
            folder.name: replace(source, root=str(folder)) for folder in _folders(root, source)
        }
        if not found and (root / source.table).is_file():
            found = {root.name: source}
    if not found:
        raise DataError(
            f"data.root={root}: expected a folder a site, each with '{source.table}', or one such "
            "table with data.site_column; found neither"
        )
    _check_names(list(found))
    return found


def pooled(source: SourceSettings) -> SourceSettings:
    """All sites' images as one source; a patient who is at two sites becomes one."""
    root = root_of(source)
    folders = _folders(root, source) if source.layout == "table" else []
    return replace(source, table=f"*/{source.table}") if folders else source


def _folders(root: Path, source: SourceSettings) -> list[Path]:
    """Each sub-folder that holds the table."""
    return [folder for folder in sorted(root.iterdir()) if (folder / source.table).is_file()]


def _check_names(names: Sequence[str]) -> None:
    bad = [name for name in names if not SITE_NAME.fullmatch(name)]
    if bad:
        raise DataError(f"site names become file names: expected {SITE_NAME_RULE}, got {bad}")
