"""Pickled checkpoints (`.pth`, `pytorch_model.bin`), read without running what is in them and without surprises.

A pickle could run code: it is read with torch's `weights_only`, with `argparse.Namespace` (which the authors' files
carry) as the only class allowed. A zip archive could unpack to more than there is room for: torch compresses nothing,
so that compressed or overlapping entries are refused before anything is read.
"""

from __future__ import annotations

import argparse
import errno
import re
import warnings
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from pnp_ovss.errors import ModelError, PnPError
from pnp_ovss.files import read_json

State = dict[str, Tensor]


def read_checkpoint(path: Path) -> State:
    """The tensors of a `.pth` file, under `model` or `module` or at the top. Raises ModelError for anything else."""
    _check_archive(path)
    data = _load(path)
    for key in ("model", "module", "state_dict"):
        if isinstance(data, dict) and isinstance(data.get(key), dict):
            data = data[key]
    if not isinstance(data, dict) or not any(isinstance(value, Tensor) for value in data.values()):
        raise ModelError(f"{path} holds no tensors under 'model', 'module', 'state_dict' or at the top")
    tensors = {name: value for name, value in data.items() if isinstance(value, Tensor)}
    for name, value in tensors.items():
        _check_tensor(path, name, value)
    return {name.removeprefix("module."): value for name, value in tensors.items()}


def read_shards(index: Path) -> State:
    """The tensors of all files that an index names.

    Raises ModelError for an index that is malformed or leads out of its folder, and for a weight that two files hold.
    """
    listed = read_json(index, error=ModelError)
    names = listed.get("weight_map") if isinstance(listed, dict) else None
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise ModelError(f"{index} has no weight_map of weights and files; fetch the model again")
    files = sorted(set(names.values()))
    if any(Path(name).name != name or not name.endswith(".bin") for name in files):
        raise ModelError(f"{index} names {files[0]!r}: only .bin files beside it are read")
    found: State = {}
    for path in (index.parent / name for name in files):
        part = read_checkpoint(path)
        twice = sorted(found.keys() & part.keys())
        if twice:
            raise ModelError(f"{path} holds {twice[0]}, and so does another shard; fetch the model again")
        found |= part
    return found


def _check_archive(path: Path) -> None:
    """Refuse an archive that would unpack to more than its own size."""
    try:
        if not zipfile.is_zipfile(path):
            if not path.is_file():
                what = "it is a folder; name the file in it" if path.is_dir() else "there is no such file"
                raise ModelError(f"cannot read {path}: {what}")
            return
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise ModelError(f"cannot read {path}: {error}") from error
    compressed = [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
    if compressed or sum(entry.file_size for entry in entries) > path.stat().st_size:
        what = f"{compressed[0]} is compressed" if compressed else "its entries overlap"
        raise ModelError(f"{path} is refused: {what}, which torch never writes; it would unpack to more than its size")


def _load(path: Path) -> object:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore")  # torch doubts other pickle protocols; what it cannot read it refuses
            return torch.load(path, map_location="cpu", weights_only=True)
    except PnPError:
        raise
    except Exception as error:  # torch's reader raises every kind of error on damaged files
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # that it seeks before the start of half a file
            raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        other = "not a checkpoint of torch, or only a part of one: download it again"
        reason = f"it wants to load {found[1]}, which is not allowed" if found else other
        raise ModelError(f"{path} is refused: {reason}; only tensors and plain values are read") from error


def _check_tensor(path: Path, name: object, value: Tensor) -> None:
    """Only named, dense tensors of numbers that are in the file: no sparse, quantised, meta or repeated ones."""
    if not isinstance(name, str):
        raise ModelError(f"{path}: a weight is named {name!r}, not by a text; not a checkpoint of a model")
    kind = ""
    if value.layout != torch.strided:
        kind = f"stored as {value.layout}"
    elif value.is_quantized:
        kind = "quantised"
    elif value.device.type != "cpu":
        kind = f"without numbers ({value.device.type})"
    elif value.numel() * value.element_size() > value.untyped_storage().nbytes():
        kind = "one number repeated by its strides"
    if kind:
        raise ModelError(f"{path}: the weight {name} is {kind}; only dense tensors are converted")
