"""From a model's name to an adapter with weights. Families are found by name or by a package's entry point."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from pnp_ovss.config import Precision
from pnp_ovss.errors import ConfigError, ModelError
from pnp_ovss.presets import ModelPreset, built_in_presets, list_presets, load_preset
from pnp_ovss.vlms.base import VisionLanguageModel
from pnp_ovss.vlms.checkpoints.digests import damaged_files
from pnp_ovss.vlms.checkpoints.hub import cached_folder, fetch, locate
from pnp_ovss.vlms.checkpoints.strict import read_config, refusing, weights_count
from pnp_ovss.vlms.devices import pick_device, pick_precision, warn_of_slow

Loader = Callable[..., VisionLanguageModel]

FAMILIES = {
    "pocket": "pnp_ovss.vlms.pocket:load_pocket_vlm",
    "blip": "pnp_ovss.vlms.blip:load_blip",
    "bridgetower": "pnp_ovss.vlms.bridgetower:load_bridgetower",
    "albef": "pnp_ovss.vlms.albef:load_albef",
    "mplug": "pnp_ovss.vlms.mplug:load_mplug",
    "blip-2": "pnp_ovss.vlms.blip2:load_blip2",
    "vilt": "pnp_ovss.vlms.vilt:load_vilt",
    "fake": "pnp_ovss.testing.fake_vlm:load_fake",
}
"""Family -> loader(preset, folder, *, precision). Others plug in by the entry point group `pnp_ovss.vlms`."""
SIZES_APART = 1.3
"""Sizes of one family differ by a factor of 1.9 and more; heads that matching does not use come and go."""
CONVERTED = ("albef", "mplug")
"""Families whose checkpoints are not on the hub."""


def find_preset(model: str | Path) -> ModelPreset:
    """The preset of a name, hub id, TOML file, folder or safetensors file. Raises ConfigError or ModelError."""
    path = Path(model)
    if path.suffix == ".toml" or str(model) in list_presets():
        return load_preset(model)
    says_folder = path.is_absolute() or str(model).startswith(".") or len(path.parts) > 2
    if says_folder or path.is_dir() or path.suffix == ".safetensors":
        return _folder_preset(path)
    try:
        return load_preset(model)
    except ConfigError:
        if len(path.parts) == 2:
            return ModelPreset(name=str(model), family="auto", hub_id=str(model), source="hub")
        raise


def find_weights(preset: ModelPreset) -> Path | None:
    """The folder with a preset's files, fetched if need be; None for what comes with a package. Raises ModelError."""
    if is_built_in(preset):
        return None
    if preset.hub_id is None and preset.path is None:
        raise ModelError(
            f"{preset.name} is loaded from a converted checkpoint: get its authors' .pth file, run `pnp-ovss models "
            f"convert FILE.pth --as {preset.family} --out DIR` once, then use --model DIR"
        )
    return locate(preset)


def fetch_weights(preset: ModelPreset) -> Path | None:
    """As `find_weights`, after the cached files were read whole: damaged ones are deleted and fetched again."""
    cached = None if preset.path is not None else cached_folder(preset)
    return fetch(preset) if cached is not None and damaged_files(cached) else find_weights(preset)


def is_built_in(preset: ModelPreset) -> bool:
    """Whether a preset's weights need neither the hub nor a local file."""
    return preset.hub_id is None and preset.path is None and preset.family not in CONVERTED


def _folder_preset(path: Path) -> ModelPreset:
    """A local folder's own preset.toml, or the settings of the built-in preset that it is a copy of, or is like.

    Without this a folder would silently get BLIP's layer and head.
    """
    folder = path.parent if path.suffix == ".safetensors" else path
    own = folder / "preset.toml"
    if own.is_file():
        return dataclasses.replace(load_preset(own), name=folder.name, path=str(path), hub_id=None)
    plain = ModelPreset(name=path.stem, family="auto", path=str(path), source="local files")
    if not any((folder / name).is_file() for name in ("config.json", "pocket.safetensors")):
        return plain
    if folder.is_dir() and not any(folder.glob("*.safetensors")):
        return plain  # `find_weights` says what is missing
    twin = alike(folder)
    settings = {name: value for name, value in twin.settings.items() if name != "bank"}  # it is of the twin's weights
    return dataclasses.replace(plain, settings=settings, source=f"local files, settings of {twin.name}")


def alike(folder: Path) -> ModelPreset:
    """The built-in preset whose architecture a folder's weights have: the same family and about as many weights.

    Raises ModelError where none has, or several with different settings: another model's layer and head would give maps
    that mean nothing.
    """
    family = _family(folder)
    presets = [preset for preset in built_in_presets() if preset.family == family]
    if family != "pocket":
        found = weights_count(folder) / 1e6
        presets = [preset for preset in presets if 1 / SIZES_APART < found / preset.parameters_m < SIZES_APART]
        if not presets:
            raise ModelError(
                f"{folder}: no built-in preset of family {family} has about {found:.3g} million weights; write "
                f"{folder / 'preset.toml'} with [model] family = '{family}' and [settings] layer, head, size_px"
            )
    if any(preset.settings != presets[0].settings for preset in presets):
        names = ", ".join(preset.name for preset in presets)
        raise ModelError(f"{folder} could be {names}, whose settings differ; copy one as {folder / 'preset.toml'}")
    named = [preset for preset in presets if folder.name in (preset.name, str(preset.hub_id).split("/")[-1])]
    return (named or presets)[0]


def load_vlm(preset: ModelPreset, *, precision: Precision = "float32", device: str = "auto") -> VisionLanguageModel:
    """The adapter of a preset on a device (`auto`: cuda, then mps, then cpu), frozen and in evaluation mode.

    precision: `auto` is what `pick_precision` says of the device.
    """
    where = pick_device(device)
    warn_of_slow(precision, where)
    folder = find_weights(preset)
    family = _family(folder) if preset.family == "auto" and folder is not None else preset.family
    load, asked = _loader(family), pick_precision(precision, where)
    if folder is None or family not in FAMILIES:
        vlm = load(preset, folder, precision=asked)
    else:
        with refusing(folder):
            vlm = load(preset, folder, precision=asked)
    vlm.model.to(where)
    return vlm


def _loader(family: str) -> Loader:
    if family in FAMILIES:
        module, function = FAMILIES[family].split(":")
        return getattr(import_module(module), function)
    plugged = {entry.name: entry for entry in entry_points(group="pnp_ovss.vlms")}
    if family in plugged:
        return plugged[family].load()
    known = ", ".join(sorted([*FAMILIES, *plugged]))
    raise ModelError(f"unknown model family '{family}'; known are {known}")


def _family(folder: Path) -> str:
    """The family of a checkpoint folder, from `model_type` in its config.json (or a pocket model's file name)."""
    if (folder / "pocket.safetensors").is_file():
        return "pocket"
    kind = read_config(folder)["model_type"]
    if kind not in FAMILIES:
        raise ModelError(f"{folder}: model_type '{kind}' has no adapter; known are {', '.join(sorted(FAMILIES))}")
    return kind
