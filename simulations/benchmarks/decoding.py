"""Decoding in worker processes against a bare pydicom loop, and against the cache.

    python -m simulations.benchmarks.decoding [--json] [files=1000] [pixels=768] [folder=PATH]

Writes phantom radiographs to ``folder`` (by default the system's for temporary files), native and
in three compressed transfer syntaxes that pydicom decodes by itself, and makes images of 64 × 64
pixels of them: in this process with pydicom alone, with two workers within their limits, and from
the cache. All three give the same images, within one grey level. The first two take turns, some
files each, so that whatever else the machine does slows both.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from client.cache import decoded_images
from common.config import TaskSettings
from common.data.decoding.process import Refusal
from common.data.images import read_image, read_many, refused
from common.data.manifest import Manifest
from simulations.benchmarks.command import no_more, run, take_count, take_json, take_word
from simulations.hospitals import HOSPITALS, draw_image, to_dicom

SYNTAXES = (
    uid.ExplicitVRLittleEndian,
    uid.JPEG2000Lossless,
    uid.RLELossless,
    uid.JPEGBaseline8Bit,
)
DISTINCT = 40
"""Images that are drawn; the other files are further names of theirs."""
TASK = TaskSettings(image_size=64, channels=1)
BATCH = 64
TURN = 50
"""Files that one way reads before it is the other's turn."""


def write_files(folder: Path, count: int, pixels: int) -> list[Path]:
    """``count`` files in turn of each transfer syntax."""
    hospital = replace(HOSPITALS[1], pixels=pixels)
    rng = np.random.default_rng(0)
    anatomy = np.array([0, 0.40, 0.68, 0])
    files = []
    for number in range(count):
        path = folder / f"{number:05d}.dcm"
        files.append(path)
        if number >= DISTINCT:
            path.hardlink_to(files[number % DISTINCT])
            continue
        image, _ = draw_image(hospital, (number % 2 == 0, number % 3 == 0), anatomy, rng)
        dataset = to_dicom(image, hospital, "P", 50, "F", f"benchmark/{number}")
        _encode(dataset, SYNTAXES[number % len(SYNTAXES)])
        dataset.save_as(path, enforce_file_format=True)
    return files


def _encode(dataset: pydicom.FileDataset, syntax: uid.UID) -> None:
    """Compress a 12-bit grey data set of the phantom in place."""
    dataset.file_meta.TransferSyntaxUID = syntax
    pixels = np.frombuffer(dataset.PixelData, "<u2").reshape(dataset.Rows, dataset.Columns)
    if syntax == uid.JPEG2000Lossless:
        dataset.PixelData = encapsulate(
            [bytes(imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="J2K"))]
        )
    elif syntax == uid.RLELossless:
        dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
        dataset.compress(uid.RLELossless, generate_instance_uid=False)
    elif syntax == uid.JPEGBaseline8Bit:
        stream = imagecodecs.jpeg8_encode((pixels >> 4).astype(np.uint8), level=95)
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
        dataset.WindowCenter, dataset.WindowWidth = 115, 205
        dataset.PixelData = encapsulate([bytes(stream)])
    if syntax.is_encapsulated:
        dataset["PixelData"].VR = "OB"


def bare(path: Path) -> NDArray[np.uint8]:
    """What a loop without any care would do: pydicom, its two tables, Pillow."""
    dataset = pydicom.dcmread(path)
    values = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    values = np.asarray(values, dtype=np.float64)
    unit = (values - values.min()) / (values.max() - values.min())
    image = Image.fromarray(np.rint(unit * 255).astype(np.uint8))
    size = (TASK.image_size, TASK.image_size)
    image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(image)[None]


def epoch(images: NDArray[np.uint8]) -> int:
    """Read every image, in batches and in random order, as training does."""
    order = np.random.default_rng(0).permutation(len(images))
    starts = range(0, len(order), BATCH)
    return sum(int(images[order[start : start + BATCH]][:, 0, 0, 0].sum()) for start in starts)


def measure(folder: Path, count: int, pixels: int) -> dict[str, Any]:
    """Seconds of the three ways, and what they come to."""
    files = write_files(folder, count, pixels)
    manifest = Manifest(
        root=folder,
        files=tuple(path.name for path in files),
        patients=tuple(path.name for path in files),
        labels=np.zeros((count, 1), dtype=np.float32),
        classes=("any",),
        metadata={},
    )
    each = dict(_each(files))  # also has everything started and imported
    loop = workers = 0.0
    plain = np.empty((count, TASK.channels, TASK.image_size, TASK.image_size), dtype=np.uint8)
    images = np.empty_like(plain)
    for start in range(0, count, TURN):
        turn = slice(start, min(start + TURN, count))
        loop += _timed(_bare_loop, files[turn], plain[turn])
        workers += _timed(_workers, files[turn], images[turn])
    decoded_images(manifest, TASK, folder / "cache")
    cached = _timed(lambda: epoch(decoded_images(manifest, TASK, folder / "cache")))
    differences = np.abs(images.astype(np.int16) - plain).max(axis=(1, 2, 3))
    return {
        "files": count,
        "pixels": pixels,
        "seconds": {"bare_pydicom": loop, "workers": workers, "cache": cached},
        "milliseconds_a_file": each,
        "workers_over_bare": loop / workers,
        "cache_over_bare": loop / cached,
        "cache_over_workers": workers / cached,
        "greatest_difference": int(differences.max()),
    }


def _bare_loop(files: Sequence[Path], out: NDArray[np.uint8]) -> None:
    for row, path in enumerate(files):
        out[row] = bare(path)


def _workers(files: Sequence[Path], out: NDArray[np.uint8]) -> None:
    def take(row: int, image: NDArray[np.uint8] | Refusal) -> None:
        if isinstance(image, Refusal):
            raise refused(image)
        out[row] = image

    read_many(files, TASK.image_size, TASK.channels, take)


def _each(files: Sequence[Path]) -> Iterator[tuple[str, dict[str, float]]]:
    """Milliseconds for one file of each transfer syntax, one at a time: the least of 5."""
    for path, syntax in zip(files, SYNTAXES, strict=False):
        yield (
            syntax.keyword,
            {
                "bare": 1e3 * min(_timed(bare, path) for _ in range(5)),
                "worker": 1e3 * min(_timed(read_image, path, TASK.image_size, 1) for _ in range(5)),
            },
        )


def _timed(work: Callable[..., object], *arguments: object) -> float:
    started = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - started


def main(words: Sequence[str]) -> None:
    as_json, words = take_json(words)
    files, words = take_count(words, "files", 1000)
    pixels, words = take_count(words, "pixels", 768)
    parent, words = take_word(words, "folder", "")
    no_more(words, "files=N", "pixels=N", "folder=PATH", "--json")
    with tempfile.TemporaryDirectory(dir=parent or None) as folder:
        figures = measure(Path(folder), files, pixels)
    if as_json:
        print(json.dumps(figures, indent=1))
        return
    for syntax, each in figures["milliseconds_a_file"].items():
        print(f"{syntax:<20} {each['bare']:6.1f} ms bare, {each['worker']:6.1f} ms by a worker")
    for way, seconds in figures["seconds"].items():
        print(f"{way:<20} {seconds:6.2f} s for {figures['files']} files")
    print(f"workers are {figures['workers_over_bare']:.2f} times as fast as bare pydicom")
    print(f"a second epoch from the cache is {figures['cache_over_workers']:.0f} times as fast")
    print(f"greatest difference: {figures['greatest_difference']} grey levels of 255")


if __name__ == "__main__":
    run(main)
