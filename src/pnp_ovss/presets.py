"""Model presets, methods, and how they and explicit settings become one configuration.

A *preset* (`presets/NAME.toml`) holds what depends on the checkpoint, a *method* (`presets/methods/NAME.toml`) a named
variant of the method itself. Explicit settings win over the method, the method over what the policy implies, that over
the preset, the preset over `OURS`, that over the defaults, which are the paper's.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from pnp_ovss.checkpoint import decoder_sizes, family_of, weights_count
from pnp_ovss.config import SegmenterConfig
from pnp_ovss.errors import ConfigError, ModelError
from pnp_ovss.files import read_toml


@dataclass(frozen=True, kw_only=True)
class ModelPreset:
    """What is known of one checkpoint: where it lives, how it is loaded and the settings that it changes."""

    name: str
    family: str
    title: str = ""
    hub_id: str | None = None
    revision: str | None = None
    path: str | None = None
    """A local folder or safetensors file, instead of the hub."""
    download_mb: int = 0
    licence: str = ""
    parameters_m: float = 0.0
    layers: str = ""
    """Its layers with cross-attention, from 1, for example "7-12"; `models check` compares them with the weights'."""
    heads: int = 0
    """Heads of each of them; 0 = not stated."""
    source: str = ""
    """Where layer, head and T are from."""
    paper: str = ""
    """Who described the model, and where."""
    settings: Mapping[str, Any] = field(default_factory=dict)


def list_presets() -> list[str]:
    """The names of the built-in model presets, in alphabetical order."""
    return _names("presets")


def list_methods() -> list[str]:
    """The names of the built-in methods, in alphabetical order: what `method` takes beside a TOML file."""
    return _names("presets/methods")


def get_preset(model: str | Path) -> ModelPreset:
    """The preset of a name or hub id (either with @REVISION), TOML file, folder or safetensors file.

    "decoder:" before a hub id or folder: it is read as a decoder, whatever its config.json calls itself. Raises
    ConfigError or ModelError.
    """
    if not isinstance(model, str | Path) or not str(model).strip():
        raise ConfigError(f"model = {model!r} names none; give a preset's name, a hub id, a folder or a file")
    if str(model).startswith(AS_DECODER):
        return _as_decoder(str(model).removeprefix(AS_DECODER))
    path = Path(model)
    if path.suffix == ".toml":
        return _parse_preset(path.stem, read_toml(path), str(path))
    named = [preset for preset in built_in_presets() if preset.name == str(model)]
    says_folder = path.is_absolute() or str(model).startswith(".") or len(path.parts) > 2
    if not named and (says_folder or path.exists() or path.suffix == ".safetensors"):
        return _folder_preset(path)
    name, at, revision = str(model).partition("@")
    named += [preset for preset in built_in_presets() if name in (preset.name, preset.hub_id)]
    if not named and len(path.parts) == 2:
        return ModelPreset(name=str(model), family="auto", hub_id=name, revision=revision or None, source="hub")
    if not named:
        raise ConfigError(f"unknown model '{model}'; built in are {', '.join(list_presets())}")
    return replace(named[0], name=str(model), revision=revision) if at else named[0]


AS_DECODER = "decoder:"


def _as_decoder(model: str) -> ModelPreset:
    """The preset of a hub id or folder that the caller says is a decoder."""
    preset = _folder_preset(Path(model), "decoder") if Path(model).is_dir() else get_preset(model)
    if preset.family not in ("auto", "decoder"):
        raise ConfigError(f"{model} is of the family {preset.family}, not decoder; name it without a family")
    return replace(preset, family="decoder")


@cache
def built_in_presets() -> tuple[ModelPreset, ...]:
    """All built-in presets, read once."""
    texts = {name: (_root() / "presets" / f"{name}.toml").read_text("utf-8") for name in list_presets()}
    return tuple(_parse_preset(name, tomllib.loads(text), f"presets/{name}.toml") for name, text in texts.items())


def get_method(method: str | Path) -> dict[str, Any]:
    """The settings of a method: `paper`, `authors-cvpr`, `authors-later`, or a TOML file of settings."""
    path = Path(str(method))
    if path.suffix == ".toml":
        data = _checked(read_toml(path), str(path))
    elif str(method) in list_methods():
        data = tomllib.loads((_root() / "presets/methods" / f"{method}.toml").read_text("utf-8"))
    else:
        raise ConfigError(f"unknown method '{method}'; choose from {', '.join(list_methods())} or give a .toml file")
    return data


SIZES_APART = 1.3
"""Sizes of one family differ by a factor of 1.9 and more; heads that matching does not use come and go."""
OURS: dict[str, Any] = {"completion": "affinity", "competition": "equal_mass", "core_share": 0.3, "soft_presence": True}
"""What every preset starts from: better on every data set with the built-in model, where alone it was measured
(docs/results.md). The methods of others say what they have instead."""
IMPLIED: dict[str, dict[str, Any]] = {
    "all": {"normalise": "global"},
    "clip": {"match_threshold": 0.0, "match_relative": 0.5},
}
"""What a policy brings with it unless it is set. `all`: one scale for all classes, or an absent class peaks as high as a
present one. `clip`: its scores are shares of one among all names, for which a model's match_threshold is not meant."""


def resolve(
    model: str | Path | ModelPreset | None = None, method: str | Path | None = None, **explicit: Any
) -> SegmenterConfig:
    """Defaults < ours < the model's preset < what the policy implies < method < explicit settings.

    `None` among the explicit settings means "not given". Without a model, ours are left out too: the paper's defaults.
    """
    given = {name: value for name, value in explicit.items() if value is not None}
    chosen = get_method(method) if method else {}
    preset = get_preset(model) if isinstance(model, str | Path) else model
    config = SegmenterConfig().replace(**{**OURS, **preset.settings}) if preset else SegmenterConfig()
    policy = given.get("policy", chosen.get("policy", config.policy))
    return config.replace(**{**IMPLIED.get(policy, {}), **chosen}).replace(**given)


def remark_on_threshold(preset: ModelPreset, method: str | Path | None, **explicit: Any) -> str:
    """What there is to say where policy itm decides by a match_threshold that was never fitted to this model; else ""."""
    config = resolve(preset, method, **explicit)
    given = {**preset.settings, **(get_method(method) if method else {}), **explicit}
    if config.policy != "itm" or given.get("match_threshold") is not None:
        return ""
    return (
        f"match_threshold = {config.match_threshold:g}, by which {preset.name} decides which names are there, is the default and "
        "was fitted to no photos; fit it to tags with `pnp-ovss tune --presence`, or set it"
    )


def _folder_preset(path: Path, family: str = "auto") -> ModelPreset:
    """A local folder's own preset.toml, or the settings of the built-in preset that it is a copy of, or is like.

    Without this a folder would silently get BLIP's layer and head.
    """
    folder = path.parent if path.suffix == ".safetensors" else path
    if (own := folder / "preset.toml").is_file():
        return replace(get_preset(own), name=folder.name, path=str(path), hub_id=None)
    plain = ModelPreset(name=path.stem, family=family, path=str(path), source="local files")
    described = any((folder / name).is_file() for name in ("config.json", "pocket.safetensors"))
    if not described or not any(folder.glob("*.safetensors")):
        return plain  # `find_weights` says what is missing
    return like_built_in(plain, folder)


def like_built_in(plain: ModelPreset, folder: Path) -> ModelPreset:
    """A preset with the settings of the built-in one whose architecture its folder's weights have. Raises ModelError."""
    twin = alike(folder, plain.family)
    settings = {name: value for name, value in twin.settings.items() if name != "bank"}  # it is of the twin's weights
    return replace(plain, settings=settings, source=f"{plain.source}, settings of {twin.name}")


def alike(folder: Path, family: str = "auto") -> ModelPreset:
    """The built-in preset whose architecture a folder's weights have: the same family and about as many weights.

    Raises ModelError where none has, or several with different settings: another model's layer and head would give maps
    that mean nothing.
    """
    family = family_of(folder) if family == "auto" else family
    presets = [preset for preset in built_in_presets() if preset.family == family]
    if family == "decoder":
        return _decoder(folder, presets)
    if not presets:
        known = ", ".join(sorted({preset.family for preset in built_in_presets()}))
        raise ModelError(f"{folder}: model_type '{family}' has no adapter with a preset; known are {known}")
    if family != "pocket":
        found = weights_count(folder) / 1e6
        presets = [preset for preset in presets if 1 / SIZES_APART < found / preset.parameters_m < SIZES_APART]
        if not presets:
            raise ModelError(
                f"{folder}: no built-in preset of family {family} has about {found:.3g} million weights; write "
                f"{folder / 'preset.toml'} with [model] family = '{family}' and [settings] layer, head, size_px (of the "
                "hub: a .toml file anywhere, with hub_id too, and name that file)"
            )
    if any(preset.settings != presets[0].settings for preset in presets):
        names = ", ".join(preset.name for preset in presets)
        raise ModelError(f"{folder} could be {names}, whose settings differ; copy one as {folder / 'preset.toml'}")
    named = [preset for preset in presets if folder.name in (preset.name, str(preset.hub_id).split("/")[-1])]
    return (named or presets)[0]


QUESTION = "Is there {classes} in this picture? Answer yes or no."
"""What a decoder is asked: its answer is the match."""


def _decoder(folder: Path, presets: Sequence[ModelPreset]) -> ModelPreset:
    """The preset of a decoder's folder: the built-in one of its name, else a middle layer, the mean over heads, its own size."""
    named = [preset for preset in presets if folder.name in (preset.name, str(preset.hub_id).split("/")[-1])]
    if named:
        return named[0]
    layers, size_px = decoder_sizes(folder)
    settings = {"layer": (layers + 1) // 2, "head": "mean", "size_px": size_px, "template": QUESTION}
    return ModelPreset(name="decoders: a middle layer, to be tuned", family="decoder", settings=settings)


def _parse_preset(name: str, data: dict[str, Any], where: str) -> ModelPreset:
    model, settings = data.get("model", {}), data.get("settings", {})
    texts = {f.name: f.type not in ("int", "float") for f in fields(ModelPreset) if f.name != "settings"}
    if not isinstance(model, dict) or not isinstance(settings, dict):
        raise ConfigError(f"{where}: model and settings must be tables: [model] and [settings]")
    unknown = sorted((set(data) - {"model", "settings", "evidence"}) | (set(model) - set(texts)))
    if unknown or "family" not in model:
        problem = f"unknown keys {', '.join(unknown)}" if unknown else "no key 'family' in [model]"
        raise ConfigError(f"{where}: {problem}; a preset has [model] (family, hub_id, ...) and [settings]")
    named: dict[str, Any] = {"name": name, **model}
    for key, value in model.items():
        if not isinstance(value, str if texts[key] else int | float):
            raise ConfigError(f"{where}: {key} = {value!r} must be {'a text' if texts[key] else 'a number'}")
    return ModelPreset(**named, settings=_checked(settings, where))


def _checked(settings: dict[str, Any], where: str) -> dict[str, Any]:
    """The settings of a file. Raises ConfigError, with its name, for what is no setting or has an impossible value."""
    try:
        SegmenterConfig().replace(**settings)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    return settings


def _root() -> Any:
    return resources.files("pnp_ovss")


def _names(folder: str) -> list[str]:
    return sorted(e.name.removesuffix(".toml") for e in (_root() / folder).iterdir() if e.name.endswith(".toml"))
