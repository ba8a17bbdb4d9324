"""Promptable segmenters by name, and fetching them from the hub."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from pnp_ovss.errors import ModelError
from pnp_ovss.extras import need
from pnp_ovss.files import read_toml, sha256_of


@cache
def promptable_presets() -> dict[str, dict[str, Any]]:
    """{name: hub_id, download_mb, licence and, for a single file, file and sha256}."""
    return read_toml(Path(str(files("pnp_ovss.refiners") / "promptable.toml")))


def fetch_promptable(name: str) -> Path:
    """Fetch a segmenter of `promptable_presets` into the hub's cache, checked by hash where one is known. Raises ModelError."""
    need("huggingface_hub", f"fetching {name}", "hub")
    from huggingface_hub import hf_hub_download, snapshot_download

    preset = promptable_presets()[name]
    try:
        if "file" in preset:
            path = Path(hf_hub_download(preset["hub_id"], preset["file"]))
            check_hash(path, preset["sha256"])
            return path
        return Path(snapshot_download(preset["hub_id"], allow_patterns=["*.json", "*.safetensors"]))
    except ModelError:
        raise
    except Exception as error:  # the hub's errors, those of its network library, and the system's
        raise ModelError(
            f"{preset['hub_id']} is not in the hub's cache and cannot be fetched ({type(error).__name__}); with a connection call "
            f"`pnp-ovss models fetch {name}` again, or copy the cache of a machine that has one"
        ) from error


def check_hash(path: Path, wanted: str) -> None:
    """Raise ModelError for a file that is not the published one. wanted: its sha256."""
    found = sha256_of(path)
    if found != wanted:
        raise ModelError(f"{path}: sha256 {found[:12]}..., not {wanted[:12]}...; delete it and fetch it again")
