"""Every setting of the method, its default written once, and the files that change it.

`SegmenterConfig()` alone is the paper's method with its choice for BLIP. A *preset* (`presets/NAME.toml`) holds what
depends on the checkpoint, a *method* (`presets/methods/NAME.toml`) a named variant of the method itself.
Explicit settings win over the method, the method over the preset, the preset over the defaults.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_type_hints

from pnp_ovss.errors import ConfigError
from pnp_ovss.validation import check_settings

Gradient = Literal["match_logit", "margin", "paper-literal", "none"]
Scale = Literal["per_class", "global", "none"]
Policy = Literal["all", "itm", "file", "oracle", "clip"]
Precision = Literal["float32", "bfloat16", "bfloat16-vision"]


@dataclass(frozen=True, kw_only=True)
class SegmenterConfig:
    """All settings of one segmentation. Layers and heads count from 1, as in the paper's Table 2."""

    # What the checkpoint decides (Table 2).
    layer: int = 8
    """Cross-attention layer, from 1."""
    head: int | Literal["mean"] = 10
    """Attention head, from 1, or the mean over the layer's heads (Table 6)."""
    threshold: float = 0.15
    """T of §3.3, compared with the sum of passes (or with its min-max map, see `accumulate`)."""
    size_px: int = 336
    """Side S of the square input; the short side with `keep_aspect`."""
    precision: Precision = "float32"
    """Of the weights: `bfloat16` all of them, `bfloat16-vision` those of the image side only."""

    # Input and prompt (§3).
    keep_aspect: bool = False
    """Keep the photo's aspect ratio: short side S, both sides multiples of the patch size."""
    template: str = "A picture of {classes}"
    """The prompt; `{classes}` stands once in it and becomes the names, with blanks between."""
    prompted: Literal["kept", "all"] = "kept"
    """Names in the prompt: those that compete, or the whole vocabulary whatever competes (CVPR-time scripts)."""

    # Saliency (§3.1, §3.2).
    gradient: Gradient = "match_logit"
    """What is differentiated by the attention. `paper-literal` is Eq. 1 as printed, which inverts the sign."""
    softmax_over_classes: bool = False
    """Softmax over the K maps before anything else (the text after Fig. 3; for `gradient = "none"`)."""
    drops: int = 4
    """Rounds of Saliency DropOut R; R + 1 passes are summed."""
    drop_share: float = 0.5
    """Share of the remaining patches that a round drops."""
    patches_per_round: int | None = None
    """Drop this many patches instead of a share (10 in the authors' later code)."""
    drop_score: Literal["classes", "tokens"] = "classes"
    """U of Eq. 2: summed over classes, or over the classes' tokens and the closing [SEP] (authors' code)."""
    hole: Literal["black", "mean", "remove_tokens"] = "black"
    """A dropped patch is black before normalisation, zero after it, or leaves the token sequence."""

    # From passes to scores (§3.3).
    accumulate: Literal["per_round_minmax", "raw"] = "per_round_minmax"
    """Sum of min-max maps, or the min-max of the raw sum."""
    normalise: Scale = "per_class"
    """The scale of every min-max: each class its own, one for all classes, or none."""
    first_round_weight: float = 1.0
    """Weight of the first pass (2 in the authors' code)."""
    thresholding: Literal["binary", "soft"] = "binary"
    """Above T, 1 or the min-max map's value (authors' later code)."""
    resize: Literal["bilinear", "bilinear-align-corners", "bicubic"] = "bilinear"
    """How maps are enlarged from the patch grid to the photo."""
    blur: float = 0.05
    """Standard deviation of the Gaussian as a share of the photo's longer side; 0 = off."""
    background: Literal["complement", "zero_max", "off"] | float = "complement"
    """The background channel; a number is a constant score."""
    output_px: int = 2048
    """Scores of larger photos are computed at this longer side, their labels enlarged (nearest)."""
    refine: str = "densecrf"
    """A name of `list_refiners`."""
    refine_options: Mapping[str, Any] = field(default_factory=dict)
    """The refiner's options, as for `get_refiner`."""

    # Which classes may win.
    policy: Policy = "itm"
    """Who decides: the model's own matching, nobody (`all`), a list (`file`), the ground truth (`oracle`), a CLIP."""
    match_threshold: float = 0.5
    """Policy `itm`: a class competes if its match probability reaches this."""
    policy_options: Mapping[str, Any] = field(default_factory=dict)
    """Policy `itm`: `relative`, `top_k`; policy `clip`: these, `threshold` and `model` (see `policies.KeepRule`)."""
    empty: Literal["background", "best"] = "background"
    """When no class is kept: all background, or the best-matching class."""

    def __post_init__(self) -> None:
        check_settings(self, get_type_hints(type(self)))

    def replace(self, **changes: Any) -> SegmenterConfig:
        """A copy with some settings changed; unknown names are errors.

        >>> SegmenterConfig().replace(drops=2).drops
        2
        """
        known = {f.name for f in dataclasses.fields(self)}
        for name in changes:
            if name not in known:
                raise ConfigError(f"unknown setting '{name}'; the settings are {', '.join(sorted(known))}")
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """All settings as plain JSON values, {name: value}."""
        plain = {name: dict(getattr(self, name)) for name in ("refine_options", "policy_options")}
        return {**dataclasses.asdict(self), **plain}

    def digest(self) -> str:
        """Twelve hex digits that change whenever a setting does."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


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
    settings: Mapping[str, Any] = field(default_factory=dict)


def list_presets() -> list[str]:
    """The names of the built-in model presets, in alphabetical order."""
    return _names("presets")


def list_methods() -> list[str]:
    """The names of the built-in methods, in alphabetical order: what `method` takes beside a TOML file."""
    return _names("presets/methods")


def load_preset(model: str | Path) -> ModelPreset:
    """The preset of a model name, hub id or `.toml` file.

    Raises ConfigError for an unknown name or a malformed file.
    """
    path = Path(model)
    if path.suffix == ".toml":
        return _parse_preset(path.stem, _read_toml(path), str(path))
    for name in list_presets():
        data = tomllib.loads((_root() / "presets" / f"{name}.toml").read_text("utf-8"))
        if str(model) in (name, data["model"].get("hub_id")):
            return _parse_preset(name, data, f"presets/{name}.toml")
    raise ConfigError(f"unknown model '{model}'; built in are {', '.join(list_presets())}")


def load_method(method: str | Path) -> dict[str, Any]:
    """The settings of a method: `paper`, `authors-cvpr`, `authors-later`, or a TOML file of settings."""
    path = Path(method)
    if path.suffix == ".toml":
        data = _read_toml(path)
    elif str(method) in list_methods():
        data = tomllib.loads((_root() / "presets/methods" / f"{method}.toml").read_text("utf-8"))
    else:
        raise ConfigError(f"unknown method '{method}'; choose from {', '.join(list_methods())} or give a .toml file")
    SegmenterConfig().replace(**data)
    return data


def resolve_config(
    preset: ModelPreset | None = None, method: str | Path | None = None, **explicit: Any
) -> SegmenterConfig:
    """Defaults < preset < method < explicit settings; `None` among the explicit ones means "not given"."""
    settings = dict(preset.settings) if preset else {}
    settings |= load_method(method) if method else {}
    given = {name: value for name, value in explicit.items() if value is not None}
    if "refine" in given and given["refine"] != settings.get("refine"):
        settings.pop("refine_options", None)  # they are another refiner's
    settings |= given
    return SegmenterConfig().replace(**settings)


def _parse_preset(name: str, data: dict[str, Any], where: str) -> ModelPreset:
    model, settings = data.get("model", {}), data.get("settings", {})
    extra = set(data) - {"model", "settings", "evidence"}
    known = {f.name for f in dataclasses.fields(ModelPreset)} - {"settings"}
    unknown = sorted(extra | (set(model) - known))
    if unknown or "family" not in model:
        problem = f"unknown keys {', '.join(unknown)}" if unknown else "no key 'family' in [model]"
        raise ConfigError(f"{where}: {problem}; a preset has [model] (family, hub_id, ...) and [settings]")
    SegmenterConfig().replace(**settings)
    values: dict[str, Any] = {"name": name, **model, "settings": settings}
    return ModelPreset(**values)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


def _root() -> Any:
    return resources.files("pnp_ovss")


def _names(folder: str) -> list[str]:
    entries = (_root() / folder).iterdir()
    return sorted(e.name.removesuffix(".toml") for e in entries if e.name.endswith(".toml"))
