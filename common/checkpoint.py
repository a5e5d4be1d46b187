"""Models, checkpoints and counts on disk: safetensors and JSON, replaced atomically.

A file of tensors is written under a new name and synced before the JSON that names it, with its
checksum, replaces the old one, so that at every moment the JSON on disk names a complete file. No
pickle.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from common.errors import CheckpointError

Tensors = Mapping[str, NDArray[Any]]


def write_tensors(
    folder: Path,
    name: str,
    tensors: Tensors,
    facts: Mapping[str, Any],
    *,
    versioned: bool = False,
    bound: Sequence[str] = (),
) -> None:
    """Write ``name.json`` and the tensors that it names, atomically.

    Args:
        folder: where to write; made if missing.
        name: stem of the JSON and of the tensors' file.
        tensors: arrays by name.
        facts: whatever JSON can hold; stored beside the file's name and SHA-256.
        versioned: put the start of the checksum into the tensors' name, so that a new version
            never overwrites the one that the JSON on disk still names.
        bound: facts that stand in the tensors' file too, so that neither is read without them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    told = {key: json.dumps(facts[key], sort_keys=True) for key in bound}
    data = save({key: np.asarray(value, order="C") for key, value in tensors.items()}, told or None)
    digest = hashlib.sha256(data).hexdigest()
    file = f"{name}-{digest[:12]}.safetensors" if versioned else f"{name}.safetensors"
    write_bytes(folder / file, data)
    write_json(folder / f"{name}.json", {**facts, "tensors": file, "sha256": digest})
    for old in folder.glob(f"{name}-*.safetensors"):
        if old.name != file:
            old.unlink()


def read_tensors(
    folder: Path, name: str, *, bound: Sequence[str] = ()
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what :func:`write_tensors` wrote, checksum first.

    Raises:
        CheckpointError: naming the file that is missing, damaged or not ours, and each fact that
            the tensors' file states otherwise; of ``bound`` it has to state all.
    """
    path = folder / f"{name}.json"
    facts = read_json(path)
    try:
        file = folder / Path(facts["tensors"]).name
        data = file.read_bytes()
        if hashlib.sha256(data).hexdigest() != facts["sha256"]:
            raise CheckpointError(f"{file}: damaged, its SHA-256 is not the one in {path}")
        tensors = load(data)
        _check_bound(path, facts, _metadata(data), bound)
        return tensors, facts
    except KeyError as error:
        raise CheckpointError(f"{path}: expected a key {error}") from error
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: its tensors cannot be read: {error}") from error


def _metadata(data: bytes) -> dict[str, str]:
    """The texts in the header of safetensors that were found to be sound."""
    length = int.from_bytes(data[:8], "little")
    found: dict[str, str] = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    return found


def _check_bound(
    path: Path, facts: Mapping[str, Any], told: Mapping[str, str], bound: Sequence[str]
) -> None:
    keys = dict.fromkeys([*bound, *told])
    said = {key: json.dumps(facts[key], sort_keys=True) for key in keys if key in facts}
    problems = [
        f"{path}: says {key} = {said.get(key, 'nothing')}, and its tensors were written for "
        f"{told.get(key, 'nothing')}"
        for key in keys
        if said.get(key) is None or told.get(key) != said[key]
    ]
    if problems:
        raise CheckpointError("\n".join(problems))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CheckpointError: naming the file, where it is missing or holds anything else.
    """
    try:
        facts = json.loads(path.read_text())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: expected JSON: {error}") from error
    if not isinstance(facts, dict):
        raise CheckpointError(f"{path}: expected a JSON object")
    return facts


def write_json(path: Path, facts: Mapping[str, Any]) -> None:
    """Replace ``path`` atomically; NaN is refused, since JSON has none."""
    write_bytes(path, (json.dumps(facts, indent=1, allow_nan=False) + "\n").encode())


def write_private(path: Path, data: bytes) -> None:
    """As :func:`write_bytes`, and from its first byte on its owner alone can read it."""
    write_bytes(path, data, mode=0o600)


def write_bytes(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Write under a temporary name, sync, then replace ``path`` and sync its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
