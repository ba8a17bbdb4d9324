"""Where weights come from: a local folder, the hub's local cache, and only then the hub itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pnp_ovss.errors import ModelError
from pnp_ovss.presets import ModelPreset
from pnp_ovss.vlms.checkpoints.digests import is_made

PATTERNS = ("*.json", "*.safetensors", "*.txt")
PICKLE = "pytorch_model.bin"
"""Several published checkpoints have only this file; it is read with `weights_only` and rewritten once."""


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
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if preset.hub_id is None:
        return None
    if is_made(converted_folder(preset)):
        return converted_folder(preset)
    try:
        folder = snapshot_download(
            preset.hub_id, revision=preset.revision, local_files_only=True, allow_patterns=list(PATTERNS)
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, ValueError, OSError):
        return None
    return Path(folder) if any(Path(folder).glob("*.safetensors")) else None


def locate(preset: ModelPreset) -> Path:
    """The folder with a checkpoint's files: local path, then cache, then hub.

    Raises ModelError that says what is missing, where it was looked for and how to fetch it on another machine.
    """
    if preset.path is not None:
        return _local(Path(preset.path))
    return cached_folder(preset) or _download(preset)


def _local(path: Path) -> Path:
    folder = path.parent if path.suffix == ".safetensors" else path
    if not path.exists():
        raise ModelError(f"the model {path} does not exist; give a folder with config.json and *.safetensors")
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"{folder} holds no *.safetensors; convert a .pth or .bin first: pnp-ovss models convert FILE")
    return folder


def converted_folder(preset: ModelPreset) -> Path:
    """Where a hub checkpoint without safetensors is kept once it has been rewritten."""
    from huggingface_hub import constants

    name = str(preset.hub_id).replace("/", "--")
    return Path(constants.HF_HOME) / "pnp-ovss" / f"{name}--{(preset.revision or 'main').replace('/', '-')}"


def _download(preset: ModelPreset) -> Path:
    """The snapshot's folder, or that of its rewritten pickle where the repository holds no safetensors."""
    folder = _snapshot(preset, PATTERNS)
    if any(folder.glob("*.safetensors")):
        return folder
    folder = _snapshot(preset, ("*.json", "*.txt", PICKLE))
    if not (folder / PICKLE).is_file():
        raise ModelError(
            f"{preset.hub_id} (revision {preset.revision or 'main'}) holds neither *.safetensors nor {PICKLE}; "
            "set another revision in a preset's .toml file"
        )
    from pnp_ovss.vlms.checkpoints.convert import convert_file

    return convert_file(folder / PICKLE, "hf", converted_folder(preset))


def _snapshot(preset: ModelPreset, patterns: Sequence[str]) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    name, revision = str(preset.hub_id), preset.revision
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(patterns), etag_timeout=5))
    except (LocalEntryNotFoundError, HfHubHTTPError, OfflineModeIsEnabled, ValueError, OSError) as error:
        raise ModelError(
            f"the weights of {name} (*.safetensors, revision {revision or 'main'}) are not in the cache "
            f"{constants.HF_HUB_CACHE} and the hub could not be reached ({type(error).__name__}); on a machine with a "
            f"connection run `pnp-ovss models fetch {preset.name}` (or `hf download {name}`) and copy that folder here, or "
            "use the built-in model: --model pocket"
        ) from error
