"""Which images a command is to read, and how: words to paths and to a rendering."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from client.gate.listing import looks_like_an_image
from common.compose import load_settings
from common.data.dicom import Rendering
from common.data.images import rendering_of
from common.data.records import list_files
from common.errors import DataError, SettingsError

OF_READING = ("data.intensity", "data.intensity_bounds", "data.frames", "data.view")
"""Settings that say how a file is shown; all else follows from the model."""


def image_paths(places: Sequence[Path]) -> list[Path]:
    """Files as they are, and every image under a folder, hidden ones left out.

    Raises:
        SettingsError: naming every place that is not there.
        DataError: where there is no image.
    """
    missing = [place for place in places if not place.exists()]
    if missing:
        raise SettingsError([f"{place}: expected an image or a folder" for place in missing])
    paths: list[Path] = []
    for place in places:
        inside = (place / file for file in list_files(place)) if place.is_dir() else ()
        paths += [path for path in inside if looks_like_an_image(path)] or [place]
    folders = [path for path in paths if path.is_dir()]
    if folders:
        raise DataError(
            f"{folders[0]}: expected images, and there is no DICOM, PNG, JPEG, BMP or TIFF"
        )
    return paths


def rendering_from(words: Sequence[str]) -> Rendering:
    """How files are shown: as a site's are that says nothing of it, but for these words.

    Args:
        words: ``data.intensity=…`` and the others of :data:`OF_READING`.

    Raises:
        SettingsError: on any other setting, or a wrong value.
    """
    other = [word for word in words if word.partition("=")[0] not in OF_READING]
    if other:
        raise SettingsError(
            f"{', '.join(other)}: the model's own file says the rest; what can be set is "
            f"{', '.join(OF_READING)}"
        )
    nowhere = ["data=table", "data.root=.", "data.image_column=file", "privacy=none"]
    return rendering_of(load_settings([*nowhere, *words]).data)
