"""Arrays are checked, never guessed; files are whole or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.checkpoint import read_json, read_tensors, write_bytes, write_json, write_tensors
from common.errors import CheckpointError, ModelError
from common.parameters import check_arrays, from_record, received, to_record

EXPECTED = {"w": np.zeros((2, 3), np.float32), "b": np.zeros(3, np.float32)}


def test_arrays_survive_the_wire_bit_for_bit() -> None:
    arrays = {"w": np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)}
    back = from_record(to_record(arrays))
    assert back["w"].tobytes() == arrays["w"].tobytes()


def test_arrays_survive_the_disk_with_their_shapes(tmp_path: Path) -> None:
    arrays = {"w": np.ones((2, 3), np.float32).T, "n": np.array(7), "none": np.zeros((0, 2))}
    write_tensors(tmp_path, "checkpoint", arrays, {})
    back, _ = read_tensors(tmp_path, "checkpoint")
    assert back.keys() == arrays.keys()
    for name, value in arrays.items():
        assert (back[name].shape, back[name].dtype) == (value.shape, value.dtype)
        np.testing.assert_array_equal(back[name], value)


def test_what_half_precision_cannot_hold_is_refused_by_who_receives_it() -> None:
    sent = {"w": np.array([[1.0, -2.5, 65504], [1 / 3, 1e-9, 0]], np.float32)}
    back = received(sent, "float16")
    check_arrays(back, sent)
    np.testing.assert_allclose(back["w"], sent["w"], rtol=2**-11, atol=2**-25)
    assert received(sent, "float32")["w"].tobytes() == sent["w"].tobytes()
    with pytest.raises(ModelError, match="'w' holds NaN or infinity"):
        check_arrays(received({"w": np.full((2, 3), -65520, np.float32)}, "float16"), sent)


def test_bytes_that_declare_a_huge_array_are_refused_before_it_is_allocated() -> None:
    record = to_record({"w": np.zeros(4, np.float32)})
    array = record["w"]
    lying = array.data.replace(b"(4,)", b"(10000000000000,)".ljust(4))
    header = int.from_bytes(array.data[8:10], "little") + len(lying) - len(array.data)
    array.data = lying[:8] + header.to_bytes(2, "little") + lying[10:]
    with pytest.raises(ModelError, match="cannot be read"):
        from_record(record)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"w": np.zeros((1,), np.float32)}, "shape"),
        ({"w": np.zeros((3, 2), np.float32)}, "shape"),
        ({"w": np.zeros((2, 3), np.float64)}, "dtype"),
        ({"w": np.full((2, 3), np.nan, np.float32)}, "NaN"),
        ({"w": np.full((2, 3), np.inf, np.float32)}, "infinity"),
        ({"extra": np.zeros(1, np.float32)}, "not in the model"),
    ],
)
def test_arrays_that_do_not_fit_are_named(change: dict[str, object], problem: str) -> None:
    with pytest.raises(ModelError, match=problem):
        check_arrays({**EXPECTED, **change}, EXPECTED)  # type: ignore[dict-item]
    with pytest.raises(ModelError, match="'b' is missing"):
        check_arrays({"w": EXPECTED["w"]}, EXPECTED)


def test_a_checkpoint_reads_back_and_old_versions_go(tmp_path: Path) -> None:
    for number in (1.0, 2.0):
        tensors = {"w": np.full(4, number, np.float32)}
        write_tensors(tmp_path, "checkpoint", tensors, {"round": number}, versioned=True)
    tensors, facts = read_tensors(tmp_path, "checkpoint")
    assert tensors["w"].tolist() == [2.0] * 4
    assert facts["round"] == 2.0
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    write_tensors(tmp_path, "model", {"w": np.ones(4, np.float32)}, {})
    file = tmp_path / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged"):
        read_tensors(tmp_path, "model")


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"sha256": "x"}'])
def test_a_json_that_is_not_ours_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"model\.json"):
        read_tensors(tmp_path, "model")


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "facts.json"
    write_json(path, {"round": 1})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_bytes(path, b"{}")
    assert read_json(path) == {"round": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["facts.json"]


def test_json_never_holds_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert not (tmp_path / "x.json").exists()
