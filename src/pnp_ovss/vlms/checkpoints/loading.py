"""From a model's name to an adapter with weights. Families are found by name or by a package's entry point."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from pnp_ovss.checkpoint import family_of, refusing
from pnp_ovss.config import Precision
from pnp_ovss.errors import ModelError
from pnp_ovss.extras import need
from pnp_ovss.presets import ModelPreset, like_built_in
from pnp_ovss.vlms.base import VisionLanguageModel
from pnp_ovss.vlms.checkpoints.digests import damaged_files
from pnp_ovss.vlms.checkpoints.hub import cached_folder, fetch, locate
from pnp_ovss.vlms.devices import pick_device, pick_precision

Loader = Callable[..., VisionLanguageModel]

FAMILIES = {
    "pocket": "pnp_ovss.vlms.pocket:load_pocket_vlm",
    "blip": "pnp_ovss.vlms.blip:load_blip",
    "bridgetower": "pnp_ovss.vlms.bridgetower:load_bridgetower",
    "albef": "pnp_ovss.vlms.albef:load_albef",
    "mplug": "pnp_ovss.vlms.mplug:load_mplug",
    "blip-2": "pnp_ovss.vlms.blip2:load_blip2",
    "vilt": "pnp_ovss.vlms.vilt:load_vilt",
    "decoder": "pnp_ovss.vlms.decoder_files:load_decoder",
    "fake": "pnp_ovss.testing.fake_vlm:load_fake",
}
"""Family -> loader(preset, folder, *, precision). Others plug in by the entry point group `pnp_ovss.vlms`."""
OURS = ("pocket", "fake")
"""Families that need nothing but torch; the others are built on transformers."""
POCKET = "pocket.safetensors"
"""The weights of a folder of the family `pocket`."""
CONVERTED = ("albef", "mplug")
"""Families whose checkpoints are not on the hub."""


def settle(preset: ModelPreset) -> ModelPreset:
    """A repository of the hub that no preset names is fetched, and its weights decide whose settings it gets.

    Others are returned as they are. Raises ModelError as `find_weights` and `presets.alike` do.
    """
    unnamed = preset.hub_id is not None and (
        preset.family == "auto" or (preset.family == "decoder" and not preset.settings)
    )
    return like_built_in(preset, locate(preset)) if unnamed else preset


def find_weights(preset: ModelPreset) -> Path | None:
    """The folder with a preset's files, fetched if need be; None for what comes with a package. Raises ModelError."""
    if is_built_in(preset):
        return None
    if preset.hub_id is None and preset.path is None:
        raise ModelError(
            f"{preset.name} is loaded from a converted checkpoint: get its authors' .pth file, run `pnp-ovss models "
            f"convert FILE.pth --as {preset.family} --out DIR` once, then use --model DIR"
        )
    folder = locate(preset)
    if preset.path is not None and preset.family in ("auto", *FAMILIES):
        _check_named(Path(preset.path))
    return folder


def _check_named(path: Path) -> None:
    """Refuse a file that is named and would not be read: loaders take a folder's weights by their usual name."""
    pocket = path.name == POCKET or (path.parent / POCKET).is_file()
    usual = POCKET if pocket else r"model(-\d+-of-\d+)?\.safetensors"
    if path.suffix == ".safetensors" and not re.fullmatch(usual, path.name):
        raise ModelError(
            f"{path} would not be read: of a folder model.safetensors is, of a pocket model {POCKET}; give the file that "
            "name, in a folder of its own with what belongs to it"
        )


def fetch_weights(preset: ModelPreset) -> Path | None:
    """As `find_weights`, after the cached files were read whole: damaged ones are deleted and fetched again."""
    cached = None if preset.path is not None else cached_folder(preset)
    return fetch(preset) if cached is not None and damaged_files(cached) else find_weights(preset)


def is_built_in(preset: ModelPreset) -> bool:
    """Whether a preset's weights need neither the hub nor a local file."""
    return preset.hub_id is None and preset.path is None and preset.family not in CONVERTED


def load_vlm(preset: ModelPreset, *, precision: Precision = "float32", device: str = "auto") -> VisionLanguageModel:
    """The adapter of a preset on a device (`auto`: cuda, then mps, then cpu), frozen and in evaluation mode.

    precision: `auto` is what `pick_precision` says of the device.
    """
    where = pick_device(device)
    folder = find_weights(preset)
    family = family_of(folder) if preset.family == "auto" and folder is not None else preset.family
    load, asked = _loader(family), pick_precision(precision, where)
    if family in FAMILIES and family not in OURS:
        need("transformers", f"the model {preset.name}", "hub")
    if folder is None or family not in FAMILIES:
        vlm = load(preset, folder, precision=asked)
    else:
        vlm = _load_whole(load, preset, folder, asked)
    vlm.model.to(where)
    return vlm


def _load_whole(load: Loader, preset: ModelPreset, folder: Path, asked: Precision) -> VisionLanguageModel:
    """The adapter; what does not load because a file of the hub's cache is damaged is fetched again, once."""
    try:
        with refusing(folder):
            return load(preset, folder, precision=asked)
    except ModelError:
        if preset.hub_id is None or not damaged_files(folder):
            raise
    again = fetch(preset)
    with refusing(again):
        return load(preset, again, precision=asked)


def _loader(family: str) -> Loader:
    if family in FAMILIES:
        module, function = FAMILIES[family].split(":")
        return getattr(import_module(module), function)
    plugged = {entry.name: entry for entry in entry_points(group="pnp_ovss.vlms")}
    if family in plugged:
        return plugged[family].load()
    known = ", ".join(sorted([*FAMILIES, *plugged]))
    raise ModelError(f"unknown model family '{family}'; known are {known}")
