"""Folders, MedMNIST files and DICOM headers become manifests as tables do."""

from __future__ import annotations

import sys
import types
import zipfile
from collections.abc import Callable
from dataclasses import replace
from importlib.machinery import ModuleSpec
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from client.cache import decoded_images
from common.config import SourceSettings, TaskSettings
from common.data import medmnist
from common.data.headers import refused_headers
from common.data.images import read_image
from common.data.layouts import read_manifest, read_records
from common.data.npz import iter_images
from common.data.places import name_of
from common.errors import DataError, SettingsError
from tests.common.malformed.base import dataset, written

TASK = TaskSettings(image_size=16)
CLASSES = ("benign", "malignant")


def touch(root: Path, *paths: str) -> None:
    for index, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), index).save(root / path, "PNG")


def folder(root: Path, pattern: str, **settings: object) -> SourceSettings:
    return SourceSettings(
        layout="folder",
        root=str(root),
        image_pattern=pattern,
        **settings,  # type: ignore[arg-type]
    )


class TestFolder:
    def test_a_folder_is_a_class(self, tmp_path: Path) -> None:
        touch(tmp_path, "malignant/a.png", "benign/b.png", "benign/c.png")
        manifest = read_manifest(folder(tmp_path, "{label}/{image}"), TASK, CLASSES)
        assert manifest.files == ("benign/b.png", "benign/c.png", "malignant/a.png")
        assert manifest.labels.tolist() == [[1, 0], [1, 0], [0, 1]]
        assert manifest.patients == manifest.files

    def test_a_path_can_name_site_and_patient(self, tmp_path: Path) -> None:
        touch(
            tmp_path, "north/benign/p1_a.png", "north/benign/p1_b.png", "south/malignant/p2_a.png"
        )
        source = folder(
            tmp_path,
            "{site}/{label}/{patient}_{view}.png",
            patient_column="patient",
            site_column="site",
        )
        assert read_manifest(source, TASK, CLASSES).patients == ("p1", "p1", "p2")
        south = replace(source, site_value="south")
        assert read_manifest(south, TASK, CLASSES).files == ("south/malignant/p2_a.png",)

    def test_what_does_not_fit_the_pattern_is_passed_over(self, tmp_path: Path) -> None:
        touch(tmp_path, "benign/benign (1).png", "benign/benign (1)_mask.png", "readme.png")
        touch(tmp_path, "benign/malignant (2).png", ".hidden/benign (3).png")
        source = folder(tmp_path, "{label}/{label} ({number}).png")
        assert [r.file for r in read_records(source)] == ["benign/benign (1).png"]

    def test_an_excluded_image_is_left_out(self, tmp_path: Path) -> None:
        touch(tmp_path, "benign/a.png", "benign/b.png")
        source = folder(tmp_path, "{label}/{image}", exclude=("benign/a.png",))
        assert [r.file for r in read_records(source)] == ["benign/b.png"]

    def test_no_file_that_fits_is_an_error(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.png")
        with pytest.raises(DataError, match="there are none"):
            read_records(folder(tmp_path, "{label}/{image}"))

    def test_a_column_that_the_pattern_lacks_is_named(self, tmp_path: Path) -> None:
        touch(tmp_path, "benign/a.png")
        with pytest.raises(DataError, match=r"label_column.*'label'.*did you mean 'lable'"):
            read_records(folder(tmp_path, "{lable}/{image}"))


def npz(path: Path, classes: int = 2, side: int = 28, colours: bool = False) -> None:
    """A file as MedMNIST publishes it; the first image of val is the first of train."""
    rng = np.random.default_rng(0)
    shape = (side, side, 3) if colours else (side, side)
    arrays = {}
    for part, count in (("train", 6), ("val", 3), ("test", 4)):
        arrays[f"{part}_images"] = rng.integers(0, 256, (count, *shape)).astype(np.uint8)
        arrays[f"{part}_labels"] = (np.arange(count) % classes).astype(np.uint8)[:, None]
    arrays["val_images"][0] = arrays["train_images"][0]
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def mnist(root: Path, name: str) -> SourceSettings:
    return SourceSettings(layout="medmnist", root=str(root), table=name, image_column="file")


class TestMedMNIST:
    def test_images_are_identified_by_their_pixels(self, tmp_path: Path) -> None:
        npz(tmp_path / "pneumoniamnist.npz")
        source = mnist(tmp_path, "pneumoniamnist.npz")
        manifest = read_manifest(source, TASK, ("normal", "pneumonia"))
        assert len(manifest) == 13
        assert len(set(manifest.patients)) == 12
        twin = manifest.files.index(name_of("pneumoniamnist.npz", "val_images", 0))
        assert manifest.patients[twin] == manifest.patients[0]
        assert manifest.labels[:3].tolist() == [[1, 0], [0, 1], [1, 0]]

    @pytest.mark.parametrize("colours", [False, True])
    def test_the_cache_holds_the_files_own_pixels(self, colours: bool, tmp_path: Path) -> None:
        npz(tmp_path / "x.npz", colours=colours)
        task = TaskSettings(image_size=28, channels=3 if colours else 1)
        manifest = read_manifest(mnist(tmp_path, "x.npz"), task, ("0", "1"))
        images = decoded_images(manifest, task, tmp_path / "cache")
        with np.load(tmp_path / "x.npz") as arrays:
            parts = [arrays[f"{part}_images"] for part in ("train", "val", "test")]
        stored = np.concatenate(parts)
        wanted = np.moveaxis(stored, -1, 1) if colours else stored[:, None]
        np.testing.assert_array_equal(images, wanted)

    def test_a_changed_file_is_read_again(self, tmp_path: Path) -> None:
        npz(tmp_path / "x.npz")
        source = mnist(tmp_path, "x.npz")
        first = read_manifest(source, TASK, ("0", "1"))
        before = decoded_images(first, TASK, tmp_path / "cache").copy()
        npz(tmp_path / "x.npz", side=32)
        again = read_manifest(source, TASK, ("0", "1"))
        assert again.patients != first.patients
        assert not np.array_equal(decoded_images(again, TASK, tmp_path / "cache"), before)

    def test_the_twelve_sets_are_named_by_their_file(self, tmp_path: Path) -> None:
        assert len(medmnist.CLASSES) == 12
        counts = {name: len(classes) for name, classes in medmnist.CLASSES.items()}
        assert (counts["pathmnist"], counts["tissuemnist"], counts["organamnist"]) == (9, 8, 11)
        npz(tmp_path / "retinamnist_64.npz", classes=5, colours=True)
        labels = {r.cells["label"] for r in read_records(mnist(tmp_path, "retinamnist_64.npz"))}
        assert labels == {f"grade {n}" for n in range(5)}

    def test_several_labels_an_image(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(1)
        arrays = {}
        for part in ("train", "val", "test"):
            arrays[f"{part}_images"] = rng.integers(0, 256, (2, 28, 28)).astype(np.uint8)
            arrays[f"{part}_labels"] = np.zeros((2, 14), np.uint8)
        arrays["train_labels"][1, [0, 13]] = 1
        np.savez(tmp_path / "chestmnist.npz", **arrays)  # type: ignore[arg-type]
        source = replace(mnist(tmp_path, "chestmnist.npz"), label_separator="|")
        task = replace(TASK, negative_label="none")
        manifest = read_manifest(source, task, medmnist.CLASSES["chestmnist"])
        assert manifest.labels.sum(axis=1).tolist() == [0, 2, 0, 0, 0, 0]
        assert manifest.labels[1, [0, 13]].tolist() == [1, 1]

    def test_an_image_that_is_not_there_is_refused_by_name(self, tmp_path: Path) -> None:
        npz(tmp_path / "x.npz")
        with pytest.raises(DataError, match="does not hold it"):
            read_image(tmp_path / name_of("x.npz", "train_images", 99), 28, 1)

    def test_a_missing_file_says_how_to_get_it(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"data\.download=true"):
            read_records(mnist(tmp_path, "pathmnist.npz"))


def member(array: np.ndarray, header: bytes | None = None, **options: object) -> bytes:
    """An .npz of one member ``train_images``, perhaps with another header than is true."""
    stream = BytesIO()
    np.lib.format.write_array(stream, array, **options)  # type: ignore[arg-type]
    data = stream.getvalue()
    if header is not None:
        data = data.replace(b"(2, 4, 4)", header)
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train_images.npy", data)
    return packed.getvalue()


SOUND = np.zeros((2, 4, 4), np.uint8)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no zip at all",
        member(SOUND)[:-40],
        member(SOUND, b"(9, 4, 4)"),
        member(SOUND, b"(2, 4,-4)"),
        member(SOUND.astype(np.float64)),
        member(np.zeros((2, 4, 4, 7), np.uint8)),
        member(np.asfortranarray(np.arange(32, dtype=np.uint8).reshape(2, 4, 4))),
        member(np.array([{"a": 1}], dtype=object), allow_pickle=True),
        member(np.zeros(3, np.uint8)),
    ],
    ids=[
        "empty",
        "text",
        "cut",
        "more",
        "negative",
        "float",
        "planes",
        "fortran",
        "pickle",
        "flat",
    ],
)
def test_an_npz_that_lies_is_refused_by_name_and_unpickled_never(
    data: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"x\.npz"):
        list(iter_images(path, "train_images"))


def test_an_npz_costs_the_memory_of_an_image(tmp_path: Path) -> None:
    import tracemalloc

    np.savez_compressed(tmp_path / "x.npz", train_images=np.zeros((4000, 64, 64), np.uint8))
    tracemalloc.start()
    assert sum(1 for _ in iter_images(tmp_path / "x.npz", "train_images")) == 4000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000  # of 16 MB


class TestDownload:
    def test_a_name_that_is_none_of_the_sets_is_suggested(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="did you mean 'pathmnist'"):
            medmnist.download(tmp_path, "pathmnst.npz")

    def test_without_the_extra_it_says_so(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "medmnist", None)
        with pytest.raises(SettingsError, match=r"fedrounds\[medmnist\]"):
            medmnist.download(tmp_path, "pathmnist_64.npz")

    @pytest.fixture
    def package(self, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
        """Stands for the package, whose classes fetch when they are made; its calls."""
        calls: list[dict[str, object]] = []
        fake = types.ModuleType("medmnist")
        fake.__spec__ = ModuleSpec("medmnist", None)

        def path_mnist(**arguments: object) -> None:
            calls.append(arguments)
            if arguments["size"] == 224:
                raise RuntimeError("no network")

        fake.INFO = {"pathmnist": {"python_class": "PathMNIST"}}  # type: ignore[attr-defined]
        fake.PathMNIST = path_mnist  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "medmnist", fake)
        return calls

    def test_the_name_says_set_and_size(
        self, tmp_path: Path, package: list[dict[str, object]]
    ) -> None:
        medmnist.download(tmp_path, "pathmnist_64.npz")
        medmnist.download(tmp_path, "pathmnist.npz")
        assert [call["size"] for call in package] == [64, 28]
        assert package[0]["download"] is True
        assert package[0]["root"] == str(tmp_path)

    def test_what_is_there_is_not_fetched(
        self, tmp_path: Path, package: list[dict[str, object]]
    ) -> None:
        npz(tmp_path / "pathmnist.npz")
        medmnist.download(tmp_path, "pathmnist.npz")
        assert package == []

    @pytest.mark.usefixtures("package")
    def test_a_failure_says_what_could_not_be_fetched(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"pathmnist_224\.npz cannot be fetched: no network"):
            medmnist.download(tmp_path, "pathmnist_224.npz")


Write = Callable[..., None]


@pytest.fixture
def dicoms(tmp_path: Path) -> Write:
    def write(path: str, patient: str, part: str, **elements: object) -> None:
        made = dataset()
        made.PatientID, made.BodyPartExamined = patient, part
        for keyword, value in elements.items():
            setattr(made, keyword, value)
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(written(made))

    return write


class TestDicomHeaders:
    @pytest.fixture
    def source(self, tmp_path: Path) -> SourceSettings:
        return SourceSettings(
            layout="dicom",
            root=str(tmp_path),
            image_column="file",
            label_column="BodyPartExamined",
            patient_column="PatientID",
        )

    def test_labels_ids_and_metadata_stand_in_the_header(
        self, dicoms: Write, source: SourceSettings
    ) -> None:
        dicoms("a/b/1", "P1", "CHEST", PatientAge="061Y")
        dicoms("a/2.dcm", "P2", "HAND")
        source = replace(source, metadata_columns=("PatientAge",))
        manifest = read_manifest(source, TASK, ("CHEST", "HAND"))
        assert manifest.files == ("a/2.dcm", "a/b/1")
        assert manifest.patients == ("P2", "P1")
        assert manifest.labels.tolist() == [[0, 1], [1, 0]]
        assert manifest.metadata["PatientAge"] == ("", "061Y")

    def test_labels_may_stand_in_the_path_and_ids_in_the_header(
        self, dicoms: Write, source: SourceSettings
    ) -> None:
        dicoms("benign/1.dcm", "P1", "CHEST")
        dicoms("malignant/2.dcm", "P1", "CHEST")
        dicoms("other.dcm", "P3", "CHEST")
        source = replace(
            source, image_column=None, image_pattern="{label}/{name}.dcm", label_column="label"
        )
        manifest = read_manifest(source, TASK, CLASSES)
        assert manifest.files == ("benign/1.dcm", "malignant/2.dcm")
        assert manifest.patients == ("P1", "P1")

    def test_a_header_that_changed_is_read_again(
        self, dicoms: Write, source: SourceSettings
    ) -> None:
        dicoms("1.dcm", "P1", "CHEST")
        assert read_manifest(source, TASK, ("CHEST", "HAND")).patients == ("P1",)
        dicoms("1.dcm", "P123456", "CHEST")
        assert read_manifest(source, TASK, ("CHEST", "HAND")).patients == ("P123456",)

    def test_a_column_that_is_no_keyword_is_named(
        self, dicoms: Write, source: SourceSettings
    ) -> None:
        dicoms("1.dcm", "P1", "CHEST")
        with pytest.raises(DataError, match="neither: Patient"):
            read_records(replace(source, patient_column="Patient"))

    def test_a_file_without_a_header_is_left_out_alone_and_named(
        self, dicoms: Write, source: SourceSettings, tmp_path: Path
    ) -> None:
        dicoms("1.dcm", "P1", "CHEST")
        (tmp_path / "notes.txt").write_text("no image", encoding="utf-8")
        assert [record.file for record in read_records(source)] == ["1.dcm"]
        assert [refusal.path.name for refusal in refused_headers(source)] == ["notes.txt"]
        excluded = replace(source, exclude=("notes.txt",))
        assert refused_headers(excluded) == []

    def test_an_empty_folder_is_an_error(self, source: SourceSettings) -> None:
        with pytest.raises(DataError, match="there are none"):
            read_records(source)
