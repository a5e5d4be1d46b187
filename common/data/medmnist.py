"""Records from one file of MedMNIST (``data.layout=medmnist``): Yang et al., Sci Data 10:41 (2023).

The file holds its own three parts, which are not used: in at least one copy eight images stand in
two of them. Images have no patient id. An image is identified by a hash of its pixels, so that two
that are identical are one unit and on one side.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from common.config import SourceSettings
from common.data.npz import iter_images, read_integers
from common.data.places import name_of
from common.data.records import Record, check_columns, root_of
from common.errors import DataError, SettingsError
from common.extras import require_extra
from common.schema import suggest

PARTS = ("train", "val", "test")
COLUMNS = ("file", "label", "part")
NO_LABEL = "none"
"""In a set of several labels, the text of an image that has none of them."""

_ORGANS = (
    "bladder, femur-left, femur-right, heart, kidney-left, kidney-right, liver, lung-left, "
    "lung-right, pancreas, spleen"
)
_CHEST = (
    "atelectasis, cardiomegaly, effusion, infiltration, mass, nodule, pneumonia, pneumothorax, "
    "consolidation, edema, emphysema, fibrosis, pleural, hernia"
)
_TISSUES = (
    "adipose, background, debris, lymphocytes, mucus, smooth muscle, normal colon mucosa, "
    "cancer-associated stroma, colorectal adenocarcinoma epithelium"
)
_LESIONS = (
    "actinic keratoses, basal cell carcinoma, benign keratosis-like lesions, dermatofibroma, "
    "melanoma, melanocytic nevi, vascular lesions"
)
_CELLS = (
    "basophil, eosinophil, erythroblast, immature granulocytes, lymphocyte, monocyte, neutrophil, "
    "platelet"
)
_KIDNEY = (
    "collecting duct, distal convoluted tubule, glomerular endothelial cells, "
    "interstitial endothelial cells, leukocytes, podocytes, proximal tubule segments, "
    "thick ascending limb"
)
CLASSES: Mapping[str, tuple[str, ...]] = {
    name: tuple(text.split(", "))
    for name, text in {
        "pathmnist": _TISSUES,
        "chestmnist": _CHEST,
        "dermamnist": _LESIONS,
        "octmnist": "choroidal neovascularization, diabetic macular edema, drusen, normal",
        "pneumoniamnist": "normal, pneumonia",
        "retinamnist": "grade 0, grade 1, grade 2, grade 3, grade 4",
        "breastmnist": "malignant, normal or benign",
        "bloodmnist": _CELLS,
        "tissuemnist": _KIDNEY,
        "organamnist": _ORGANS,
        "organcmnist": _ORGANS,
        "organsmnist": _ORGANS,
    }.items()
}
"""The twelve two-dimensional sets, and what their labels 0, 1, … mean."""

_known: dict[tuple[object, ...], list[Record]] = {}
"""What this process has read: to hash the pixels of a file of many GB takes minutes."""

_FILE = re.compile(r"(?P<name>[a-z]+mnist)(_(?P<size>64|128|224))?\.npz")


def read_medmnist(source: SourceSettings) -> list[Record]:
    """Every image of ``data.table``, with the columns ``file``, ``label`` and ``part``.

    A label is the name of its class in one of the twelve sets (told by the file's name), and its
    number in another file. Several labels are joined by ``|``; an image without any has ``none``.

    Raises:
        DataError: where the file is missing, damaged, or no MedMNIST file.
    """
    path = root_of(source) / source.table
    check_columns(COLUMNS, source, path)
    if not path.is_file():
        raise DataError(
            f"data.table: expected a MedMNIST file, and there is none at {path}; in a simulation "
            "data.download=true fetches it"
        )
    facts = path.stat()
    key = path, source.table, facts.st_size, facts.st_mtime_ns
    if key not in _known:
        _known[key] = _records(path, source.table)
    return _known[key]


def _records(path: Path, table: str) -> list[Record]:
    found = _FILE.fullmatch(path.name)
    names = CLASSES.get(found["name"] if found else "", ())
    records = []
    for part in PARTS:
        labels = read_integers(path, f"{part}_labels")
        images = iter_images(path, f"{part}_images")
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            file = name_of(table, f"{part}_images", index)
            pixels = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()
            records.append(
                Record(file, {"file": file, "label": _text(label, names), "part": part}, pixels)
            )
    return records


def _text(label: np.ndarray, names: tuple[str, ...]) -> str:
    """One row of labels as text: a number of a class, or several zeros and ones."""
    numbers = label.tolist() if len(label) == 1 else np.flatnonzero(label).tolist()
    inside = [names[n] if 0 <= n < len(names) else str(n) for n in numbers]
    return "|".join(inside) or NO_LABEL


def download(root: Path, table: str) -> None:
    """Fetch one of the twelve sets with the ``medmnist`` package, where it is not there yet.

    Raises:
        SettingsError: where the name is none of them, or the package is missing.
        DataError: where it cannot be fetched.
    """
    found = _FILE.fullmatch(table)
    if (root / table).is_file():
        return
    if found is None or found["name"] not in CLASSES:
        name = table.partition(".")[0].partition("_")[0]
        raise SettingsError(
            f"data.download: '{table}' is none of MedMNIST's files, such as pathmnist.npz or "
            f"pathmnist_224.npz{suggest(name, CLASSES)}"
        )
    require_extra(f"data.download (or {table} under data.root)", "medmnist", "medmnist")
    import medmnist

    root.mkdir(parents=True, exist_ok=True)
    dataset = getattr(medmnist, medmnist.INFO[found["name"]]["python_class"])
    try:
        dataset(split="train", root=str(root), size=int(found["size"] or 28), download=True)
    except Exception as error:  # it wraps whatever urllib and zipfile raise
        raise DataError(f"data.download: {table} cannot be fetched: {error}") from error
