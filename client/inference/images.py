"""Which images a command is to read, and how: words to paths and to a rendering."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from client.gate.listing import looks_like_an_image
from common.compose import load_settings
from common.data.dicom import Rendering
from common.data.frames import count_frames
from common.data.images import rendering_of
from common.data.places import FRAME, name_of
from common.data.records import list_files
from common.errors import DataError, SettingsError

OF_READING = ("data.intensity", "data.intensity_bounds", "data.frames", "data.view")
"""Settings that say how a file is shown; all else follows from the model."""


def images_from(places: Sequence[Path], settings: Sequence[str]) -> tuple[list[Path], Rendering]:
    """Which images the words of a command name, and how they are shown.

    Args:
        places: files, and folders for every image under them, hidden ones left out.
        settings: ``data.intensity=…`` and the others of :data:`OF_READING`; without, files are
            shown as a site's are that says nothing of it.

    Returns:
        Paths, of frames where all are asked for (``common/data/places.py``), and a rendering.

    Raises:
        SettingsError: naming every place that is not there, any other setting, a wrong value.
        DataError: where there is no image.
    """
    rendering = _rendering(settings)
    missing = [place for place in places if not place.exists()]
    if missing:
        raise SettingsError([f"{place}: expected an image or a folder" for place in missing])
    paths = [path for place in places for path in (_inside(place) if place.is_dir() else [place])]
    return (_frames(paths) if rendering.frames == "all" else paths), rendering


def _inside(folder: Path) -> list[Path]:
    paths = [folder / file for file in list_files(folder)]
    images = [path for path in paths if looks_like_an_image(path)]
    if not images:
        raise DataError(f"{folder}: expected images, and there is no DICOM, PNG, JPEG, BMP or TIFF")
    return images


def _frames(paths: Sequence[Path]) -> list[Path]:
    every = []
    for path, count in zip(paths, count_frames(paths), strict=True):
        names = [name_of(path.name, FRAME, number) for number in range(count)]
        every += [path] if count == 1 else [path.with_name(name) for name in names]
    return every


def _rendering(settings: Sequence[str]) -> Rendering:
    other = [word for word in settings if word.partition("=")[0] not in OF_READING]
    if other:
        raise SettingsError(
            f"{', '.join(other)}: the model's own file says the rest; what can be set is "
            f"{', '.join(OF_READING)}"
        )
    nowhere = ["data=table", "data.root=.", "data.image_column=file", "privacy=none"]
    return rendering_of(load_settings([*nowhere, *settings]).data)
