"""A model's ``state_dict`` to the arrays that cross the wire, and back, checked.

Arrays are never broadcast, cast or guessed: names, shapes, dtypes and finiteness must be right,
or :class:`~common.errors.ModelError` names everything that is not.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import torch
from flwr.app import Array, ArrayRecord
from numpy.typing import NDArray
from torch import nn

from common.config import Wire
from common.errors import ModelError
from common.npy import read_npy_header

Arrays = dict[str, NDArray[np.float32]]
"""Parameter name to float32 array, in the model's own order."""

MAX_BYTES = 2 * 1024**3
"""An upper bound on one message's arrays."""


def arrays_of(model: nn.Module) -> Arrays:
    """Copy the parameters and buffers of ``model`` out, as float32 in C order."""
    return {
        name: value.detach().cpu().numpy().astype(np.float32, order="C", copy=True)
        for name, value in model.state_dict().items()
    }


def trained_names(model: nn.Module) -> frozenset[str]:
    """The arrays that training changes: all but frozen parameters."""
    frozen = {name for name, value in model.named_parameters() if not value.requires_grad}
    return frozenset(model.state_dict()) - frozen


def load_arrays(model: nn.Module, arrays: Mapping[str, NDArray[np.float32]]) -> None:
    """Load arrays into ``model`` in place, after checking them against it.

    Raises:
        ModelError: naming every array that is missing, foreign, misshapen or not finite.
    """
    check_arrays(arrays, arrays_of(model))
    model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in arrays.items()})


def check_arrays(
    arrays: Mapping[str, NDArray[np.float32]], expected: Mapping[str, NDArray[np.float32]]
) -> None:
    """Compare names, shapes, dtypes and finiteness of ``arrays`` with those ``expected``.

    Raises:
        ModelError: one line for each array that does not fit.
    """
    problems = [f"'{name}' is missing" for name in expected if name not in arrays]
    for name, value in arrays.items():
        if name not in expected:
            problems.append(f"'{name}' is not in the model")
        elif value.shape != expected[name].shape:
            problems.append(f"'{name}' has shape {value.shape}, expected {expected[name].shape}")
        elif value.dtype != expected[name].dtype:
            problems.append(f"'{name}' has dtype {value.dtype}, expected {expected[name].dtype}")
        elif not np.isfinite(value).all():
            problems.append(f"'{name}' holds NaN or infinity")
    if problems:
        raise ModelError("arrays do not fit the model: " + "; ".join(problems))


def to_wire(arrays: Arrays, wire: Wire) -> dict[str, NDArray[np.generic]]:
    """Arrays in the precision that they travel in, each value rounded to the nearest.

    What half precision cannot hold, above 65,504, becomes infinite, and whoever receives it
    refuses it as it refuses any infinity (:func:`check_arrays`).
    """
    with np.errstate(over="ignore"):
        return {name: value.astype(wire, copy=False) for name, value in arrays.items()}


def from_wire(arrays: Mapping[str, NDArray[np.generic]], wire: Wire) -> Arrays:
    """What came, in float32.

    Raises:
        ModelError: naming the first array that came in another precision.
    """
    for name, value in arrays.items():
        if value.dtype != wire:
            raise ModelError(f"array '{name}' has dtype {value.dtype}, expected {wire}")
    return {name: value.astype(np.float32, copy=False) for name, value in arrays.items()}


def received(arrays: Arrays, wire: Wire) -> Arrays:
    """What the other side has of them."""
    return from_wire(to_wire(arrays, wire), wire)


def to_record(arrays: Mapping[str, NDArray[np.generic]]) -> ArrayRecord:
    """Pack arrays for Flower (``np.save`` bytes without pickle)."""
    return ArrayRecord({name: Array(value) for name, value in arrays.items()})


def from_record(record: ArrayRecord) -> dict[str, NDArray[np.generic]]:
    """Unpack arrays from Flower.

    Raises:
        ModelError: where the record is too large, or an array's bytes cannot be read.
    """
    total = sum(len(array.data) for array in record.values())
    if total > MAX_BYTES:
        raise ModelError(f"arrays of {total} bytes came, expected at most {MAX_BYTES}")
    try:
        for array in record.values():
            read_npy_header(io.BytesIO(array.data), len(array.data))
        return {name: array.numpy() for name, array in record.items()}
    except (ValueError, TypeError, KeyError, OSError, EOFError) as error:
        raise ModelError("the bytes of an array cannot be read") from error


def count_parameters(arrays: Mapping[str, NDArray[np.float32]]) -> int:
    return sum(value.size for value in arrays.values())
