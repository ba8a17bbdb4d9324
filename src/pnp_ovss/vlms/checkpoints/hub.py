"""Where weights come from: a local folder, the hub's local cache, and only then the hub itself."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path

from pnp_ovss.errors import ModelError
from pnp_ovss.extras import need
from pnp_ovss.presets import ModelPreset
from pnp_ovss.vlms.checkpoints.digests import damaged_files, is_begun, is_made

PICKLE = "pytorch_model.bin"
"""Several published checkpoints have only this file; it is read with `weights_only` and rewritten once."""
INDEX = f"{PICKLE}.index.json"


def hush() -> None:
    """No warnings and progress bars of transformers in this process, if it comes to be imported; for command lines."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def checkpoint_source(model: str | Path, family: str) -> ModelPreset:
    """Where a model without a preset of its own lies: a folder, or a hub id, `ID` or `ID@REVISION`."""
    path = Path(model)
    if path.is_dir():
        return ModelPreset(name=path.name, family=family, path=str(path))
    hub_id, _, revision = str(model).partition("@")
    return ModelPreset(name=str(model), family=family, hub_id=hub_id, revision=revision or None)


def cached_folder(preset: ModelPreset) -> Path | None:
    """The folder of a hub checkpoint that is completely in the local cache, or None; never goes online."""
    if preset.hub_id is None or find_spec("huggingface_hub") is None:
        return None
    if is_made(converted_folder(preset)):
        return converted_folder(preset)
    folder = _snapshot(preset)
    return folder if folder is not None and _is_complete(folder) else None


def locate(preset: ModelPreset) -> Path:
    """The folder with a checkpoint's files: local path, then cache, then hub.

    Raises ModelError that says what is missing, where it was looked for and how to fetch it on another machine.
    """
    if preset.path is not None:
        return _local(Path(preset.path))
    return cached_folder(preset) or fetch(preset)


def fetch(preset: ModelPreset) -> Path:
    """The folder with a hub checkpoint's safetensors, fetched or rewritten from its pickle. Raises ModelError.

    What is in the cache is read whole: damaged files are fetched again. Raises DependencyError without the hub's library.
    """
    need("huggingface_hub", f"the model {preset.hub_id} of the hub", "hub")
    from pnp_ovss.vlms.checkpoints.download import download

    folder = download(preset)
    if any(folder.glob("*.safetensors")):
        return folder
    made = converted_folder(preset)
    if is_made(made) and not damaged_files(made):
        return made
    from pnp_ovss.vlms.checkpoints.convert import convert_file

    return convert_file(folder / (PICKLE if (folder / PICKLE).is_file() else INDEX), "hf", made)


def converted_folder(preset: ModelPreset) -> Path:
    """Where a hub checkpoint without safetensors is kept once it has been rewritten."""
    from huggingface_hub import constants

    name = str(preset.hub_id).replace("/", "--")
    return Path(constants.HF_HOME) / "pnp-ovss" / f"{name}--{(preset.revision or 'main').replace('/', '-')}"


def _local(path: Path) -> Path:
    folder = path.parent if path.suffix == ".safetensors" else path
    if not path.exists():
        raise ModelError(f"the model {path} does not exist; give a folder with config.json and *.safetensors")
    if not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"{folder} holds no *.safetensors; convert a .pth or .bin first: pnp-ovss models convert FILE --as FAMILY --out "
            "FOLDER"
        )
    if is_begun(folder) and not is_made(folder):
        raise ModelError(
            f"{folder} is half made: its conversion was broken off or its weights were copied in part; convert the "
            "checkpoint again, or copy the folder again"
        )
    return folder


def _snapshot(preset: ModelPreset) -> Path | None:
    """The cache's folder of the preset's revision, complete or not."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(str(preset.hub_id), "config.json", revision=preset.revision)
    except (HFValidationError, OSError, ValueError):
        return None
    return Path(found).parent if isinstance(found, str) else None


def _is_complete(folder: Path) -> bool:
    """Whether a snapshot has its safetensors, all shards of them."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return any(path.is_file() for path in folder.glob("*.safetensors"))
    try:
        shards = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
        return bool(shards) and all((folder / shard).is_file() for shard in shards)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
