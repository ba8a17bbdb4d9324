"""Where weights come from: a local folder, the hub's local cache, and only then the hub itself."""

from __future__ import annotations

from pathlib import Path

from pnp_ovss.config import ModelPreset
from pnp_ovss.errors import ModelError

PATTERNS = ("*.json", "*.safetensors", "*.txt")


def cached_folder(preset: ModelPreset) -> Path | None:
    """The folder of a hub checkpoint that is completely in the local cache, or None; never goes online."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if preset.hub_id is None:
        return None
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
        raise ModelError(f"{folder} holds no *.safetensors; convert a .pth first: pnp-ovss models convert")
    return folder


def _download(preset: ModelPreset) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    name, revision = str(preset.hub_id), preset.revision
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=list(PATTERNS), etag_timeout=5))
    except (LocalEntryNotFoundError, HfHubHTTPError, OfflineModeIsEnabled, ValueError, OSError) as error:
        raise ModelError(
            f"the weights of {name} (*.safetensors, revision {revision or 'main'}) are not in the cache "
            f"{constants.HF_HUB_CACHE} and the hub could not be reached ({type(error).__name__}); on a machine with a "
            f"connection run `hf download {name}` and copy that folder here, or use the built-in model: --model pocket"
        ) from error
    if not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"{name} (revision {revision or 'main'}) holds no *.safetensors and pickles are not loaded; "
            "try another --revision, or download the .pth and run: pnp-ovss models convert"
        )
    return folder
