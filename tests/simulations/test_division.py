"""Which sites a simulation has, whatever the partition, and what their folders read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from client.site import Site
from common.config import Settings
from common.errors import PolicyError, SettingsError
from simulations.sites import Cohorts

Prepare = Callable[..., Cohorts]
Folders = Callable[..., tuple[Cohorts, list[Path]]]


def images_of(cohorts: Cohorts) -> list[str]:
    """Every image of every site, by its place under the data's root."""
    places = [str(s.manifest.root / file) for s in cohorts.sites for file in s.manifest.files]
    return sorted(places)


@pytest.mark.parametrize("name", ["iid", "dirichlet", "quantity"])
def test_a_pool_has_every_image_of_every_natural_site_once(name: str, cohorts: Prepare) -> None:
    natural = cohorts()
    divided = cohorts(f"partition={name}", "partition.sites=3")
    assert images_of(divided) == images_of(natural)
    assert {site.name for site in divided.sites} <= {"site-1", "site-2", "site-3"}
    assert divided.shared_units() == []


def test_a_divided_sites_folder_alone_reads_its_own_share(site_folders: Folders) -> None:
    cohorts, folders = site_folders("partition=dirichlet", "partition.sites=2", "seed=3")
    for site, folder in zip(cohorts.sites, folders, strict=True):
        opened = Site.open(folder)
        assert opened.settings.partition is not None
        assert opened.settings.partition.seed == 3  # the run's
        manifest = opened.manifest(cohorts.experiment)
        assert manifest.files == site.manifest.files
        assert 0 < len(manifest) < len(images_of(cohorts))


def test_natural_sites_have_no_partition_in_their_folder(site_folders: Folders) -> None:
    _, folders = site_folders()
    assert all(Site.open(folder).settings.partition is None for folder in folders)


@pytest.mark.parametrize(
    "words", [["partition=held_out"], ["partition=iid", "partition.held_out=last"]]
)
def test_a_held_out_site_is_tested_on_whole_and_refuses_to_train(
    words: list[str], site_folders: Folders
) -> None:
    cohorts, folders = site_folders(*words)
    *others, last = cohorts.sites
    sizes = {part: len(manifest) for part, manifest in last.parts.items()}
    assert sizes == {"train": 0, "validation": 0, "test": len(last.manifest)}
    assert all(len(site.parts["train"]) for site in others)
    with pytest.raises(PolicyError, match="trains nothing"):
        Site.open(folders[-1]).check(cohorts.experiment)
    assert any("held out" in line for line in cohorts.warnings())


def test_the_site_to_hold_out_is_named_or_suggested(settings: Callable[..., Settings]) -> None:
    from simulations.sites import prepare_cohorts

    with pytest.raises(SettingsError, match="did you mean 'northfield'"):
        prepare_cohorts(settings("partition=held_out", "partition.held_out=northfeld"), Path())


def test_the_only_site_cannot_be_held_out(cohorts: Prepare) -> None:
    with pytest.raises(SettingsError, match="the only site"):
        cohorts("partition=iid", "partition.sites=1", "partition.held_out=last")


def test_counts_of_natural_sites_say_nothing_of_a_divided_pool(cohorts: Prepare) -> None:
    counts = "privacy.public_patients={northfield: 40, southgate: 25}"
    assert not cohorts(counts).public_patients_derived
    assert cohorts(counts, "partition=iid").public_patients_derived
    own = "privacy.public_patients={site-1: 40, site-2: 25}"
    assert not cohorts(own, "partition=iid", "partition.sites=2").public_patients_derived


def test_a_ledger_is_about_one_division_of_the_pool(site_folders: Folders) -> None:
    _, folders = site_folders("partition=iid", "partition.sites=2")
    site = Site.open(folders[0])
    before = site.split_digest()
    values = yaml.safe_load((folders[0] / "site.yaml").read_text(encoding="utf-8"))
    values["partition"]["seed"] = 1
    (folders[0] / "site.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    assert Site.open(folders[0]).split_digest() != before


def test_a_site_that_the_partition_lacks_is_refused(site_folders: Folders) -> None:
    _, folders = site_folders("partition=iid", "partition.sites=2")
    path = folders[0] / "site.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("site-1", "site-9"), encoding="utf-8")
    with pytest.raises(SettingsError, match="no site 'site-9'"):
        Site.open(folders[0])


@pytest.mark.parametrize("word", ["partition.sites=0", "partition.alpha=0", "partition.seed=-1"])
def test_wrong_partitions_are_named(word: str, settings: Callable[..., Settings]) -> None:
    with pytest.raises(SettingsError, match=word.partition("=")[0]):
        settings("partition=iid", word)
