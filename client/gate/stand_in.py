"""A site for a folder that has no ``site.yaml``: by the words of a command, or by a guess."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from client.gate.guess import guess_layout
from client.gate.listing import Listing, list_folder
from client.policy import Policy
from client.site import Site, SiteSettings
from common.compose import load_settings
from common.config import SourceSettings, TaskSettings
from common.schema import narrow


@dataclass(frozen=True)
class StandIn:
    """What is known of a folder.

    Attributes:
        site: in the place of a site; its own folder is the current one.
        task: the public half, as far as the words say it.
        listing: the files, where no label is known.
        output: where the words say that something is to be written.
    """

    site: Site
    task: TaskSettings
    listing: Listing | None
    output: Path | None


def stand_in(folder: Path, words: Sequence[str]) -> StandIn:
    """A site for a folder: by the words, by a guess, or with no more than its files.

    Args:
        folder: of images.
        words: ``data=busi``, ``data.label_column=dx`` and other settings.

    Raises:
        SettingsError: on wrong words.
        DataError: where the folder holds no image.
    """
    listing, task, policy, output = None, TaskSettings(), Policy("none"), None
    if words:
        # The privacy group asks for a patient column; whether there is one the report will say.
        named = any(word.startswith(("data=", "experiment=")) for word in words)
        group = [] if named else ["data=table"]
        settings = load_settings([*group, *words, "privacy=none", f"data.root={folder}"])
        policy = replace(
            policy,
            missing_patient=settings.privacy.missing_patient,
            burned_in_annotation=settings.privacy.burned_in_annotation,
            label_conflicts=settings.privacy.label_conflicts,
        )
        output = Path(settings.output_dir) if settings.output_dir else None
        task, source = narrow(TaskSettings, settings.data), narrow(SourceSettings, settings.data)
    if any(word.split("=")[0].split(".")[0] in ("data", "experiment") for word in words):
        if source.layout == "table" and not (folder / source.table).exists():
            source = replace(source, table=f"*/{source.table}")  # a folder a site
    else:
        guess = guess_layout(folder)
        source = guess.source if guess else SourceSettings(root=str(folder))
        if guess is None or source.layout == "dicom":  # no label is known
            listing = list_folder(folder, [])
    site = Site(Path(), SiteSettings(folder.name, source, policy))
    return StandIn(site, task, listing, output)
