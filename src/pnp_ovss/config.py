"""Every setting of the method: name, type, default, range, the step that reads it and one sentence, written once.

`SegmenterConfig()` alone is the paper's method with its choice for BLIP. What a checkpoint or a named method changes
stands in files (`pnp_ovss.presets`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, get_args, get_type_hints

from pnp_ovss.errors import ConfigError

Gradient = Literal["match_logit", "margin", "paper-literal", "none"]
Scale = Literal["per_class", "global", "none"]
Policy = Literal["all", "itm", "file", "oracle", "clip"]
Precision = Literal["float32", "bfloat16", "bfloat16-vision", "auto"]
Step = Literal["load", "prepare", "look", "label"]


def _setting(default: Any, step: Step, text: str, low: float = -math.inf, high: float = math.inf) -> Any:
    """A field: what reads it, what it means, and the finite range [low, high] of its numbers."""
    metadata = {"step": step, "help": text, "range": (low, high)}
    if isinstance(default, Mapping):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class SegmenterConfig:
    """All settings of one segmentation. Layers and heads count from 1, as in the paper's Table 2.

    Each field says in its metadata which step reads it: `load`, `prepare`, `look` or `label`.
    """

    # What the checkpoint decides (Table 2).
    layer: int = _setting(8, "look", "Cross-attention layer, from 1.", 1, 1000)
    head: int | Literal["mean"] = _setting(
        10, "look", "Attention head, from 1, or mean: the mean over the layer's heads (Table 6).", 1, 1000
    )
    threshold: float = _setting(
        0.15,
        "label",
        "T of §3.3, compared with the sum of passes, or with its min-max map (accumulate raw; equal_mass).",
        0,
        1e9,
    )
    size_px: int = _setting(
        336, "prepare", "Side S of the model's square input, px; the short side with keep_aspect.", 16, 4096
    )
    precision: Precision = _setting(
        "float32",
        "load",
        "Of the weights: bfloat16 all, bfloat16-vision the image side's, auto what the device is good at.",
    )

    # Input and prompt (§3).
    keep_aspect: bool = _setting(
        False, "prepare", "Keep the photo's aspect ratio: short side S, both sides multiples of the patch size."
    )
    template: str = _setting(
        "A picture of {classes}", "prepare", "The prompt; {classes} in it becomes the names, with blanks between."
    )
    prompted: Literal["kept", "all"] = _setting(
        "kept", "prepare", "Names in the prompt: those that compete, or all whatever competes (CVPR-time scripts)."
    )

    # Which classes may win (step 0).
    policy: Policy = _setting(
        "itm",
        "prepare",
        "Which classes compete: itm (those that the model's matching finds), all, clip (those that a CLIP finds), file "
        "(a list for each photo), oracle (those of the ground truth).",
    )
    match_threshold: float = _setting(
        0.5, "prepare", "Policies itm and clip: a class competes if its score reaches this.", 0, 1
    )
    match_relative: float = _setting(
        0.0, "prepare", "Policies itm and clip: and this share of the photo's best score.", 0, 1
    )
    match_top_k: int = _setting(
        0, "prepare", "Policies itm and clip: at most so many classes, the best; 0 = any number.", 0, 100_000
    )
    clip_model: str = _setting("", "prepare", "Policy clip: hub id or folder of the CLIP; empty = the paper's.")
    bank: str = _setting(
        "", "prepare", "Photos by which names are calibrated: a file of `calibrate`, or pocket; empty = none."
    )
    soft_presence: bool = _setting(
        False, "label", "Competition equal_mass: weigh each class by how sure it is that it is there (ours)."
    )
    empty: Literal["background", "best"] = _setting(
        "background", "prepare", "When no class is kept: all background, or the best-matching class."
    )

    # Saliency (§3.1, §3.2).
    gradient: Gradient = _setting(
        "match_logit", "look", "What is differentiated by the attention; paper-literal: Eq. 1 as printed, inverted."
    )
    softmax_over_classes: bool = _setting(
        False, "look", "Softmax over the K maps before anything else (the text after Fig. 3; with gradient none)."
    )
    drops: int = _setting(4, "look", "Rounds of Saliency DropOut R; R + 1 passes are summed.", 0, 100)
    drop_share: float = _setting(0.5, "look", "Share of the remaining patches that a drop takes.", 0, 1)
    patches_per_round: int | None = _setting(
        None, "look", "Drop this many patches instead of a share (10 in the authors' later code).", 1, 1_000_000
    )
    drop_score: Literal["classes", "tokens"] = _setting(
        "classes",
        "look",
        "U of Eq. 2: summed over classes, or over their tokens and the closing [SEP] (authors' code).",
    )
    hole: Literal["black", "mean", "remove_tokens"] = _setting(
        "black", "look", "A dropped patch is black before normalisation, zero after it, or leaves the token sequence."
    )

    # From passes to scores (§3.3).
    accumulate: Literal["per_round_minmax", "raw"] = _setting(
        "per_round_minmax", "label", "Sum of min-max maps, or the min-max of the raw sum."
    )
    normalise: Scale = _setting(
        "per_class", "label", "The scale of every min-max: each class its own, one for all classes, or none."
    )
    first_round_weight: float = _setting(
        1.0, "label", "Weight of the first pass in the sum (2 in the authors' code).", 0, 100
    )
    completion: Literal["none", "affinity"] = _setting(
        "none", "label", "Spread the summed maps over image tokens that are alike (ours); none = the paper's."
    )
    affinity_power: float = _setting(
        12.0, "label", "Completion: power of the tokens' cosine; the higher, the fewer tokens count as alike.", 1, 1000
    )
    competition: Literal["overlay", "equal_mass"] = _setting(
        "overlay",
        "label",
        "Who wins a pixel: blurred masks against each other (overlay, the paper's), or equal_mass (ours).",
    )
    share_blur: float = _setting(
        0.02, "label", "Competition equal_mass: the blur of the class shares, as a share of the longer side.", 0, 1
    )
    thresholding: Literal["binary", "soft"] = _setting(
        "binary", "label", "Above T, 1 or the min-max map's value (authors' later code)."
    )
    resize: Literal["bilinear", "bilinear-align-corners", "bicubic"] = _setting(
        "bilinear", "label", "How maps are enlarged from the patch grid to the photo."
    )
    blur: float = _setting(
        0.05, "label", "Standard deviation of the Gaussian as a share of the photo's longer side; 0 = none.", 0, 1
    )
    background: Literal["complement", "zero_max", "off"] | float = _setting(
        "complement", "label", "The background channel; a number is a constant score.", 0, 1000
    )
    output_px: int = _setting(2048, "label", "Longer side at which scores of larger photos are computed.", 16, 16384)
    refine: str = _setting("densecrf", "label", "What sharpens the masks: densecrf, pamr, densecrf-reference or none.")
    core_share: float = _setting(
        0.0, "label", "Share of its pixels that refining leaves a class at least (ours); 0 = it may vanish.", 0, 1
    )
    refine_options: Mapping[str, Any] = _setting({}, "label", "The refiner's options, as for get_refiner.")

    def __post_init__(self) -> None:
        for setting in dataclasses.fields(self):
            _check(setting, getattr(self, setting.name))
        if not 0 < self.drop_share < 1:
            raise ConfigError(f"drop_share = {self.drop_share}; it must lie between 0 and 1")
        if self.template.count("{classes}") != 1:
            raise ConfigError(f"template = {self.template!r}; it must contain {{classes}} once")

        if self.competition == "equal_mass" and self.background == "zero_max":
            raise ConfigError(
                "background = 'zero_max' belongs to competition 'overlay'; with equal_mass use complement"
            )

    def replace(self, **changes: Any) -> SegmenterConfig:
        """A copy with some settings changed; unknown names are errors.

        Another refiner does not take over the options of the one before.

        >>> SegmenterConfig().replace(drops=2).drops
        2
        """
        known = {f.name for f in dataclasses.fields(self)}
        for name in changes:
            if name not in known:
                raise ConfigError(f"unknown setting '{name}'; the settings are {', '.join(sorted(known))}")
        if changes.get("refine", self.refine) != self.refine:
            changes = {"refine_options": {}, **changes}
        return dataclasses.replace(self, **changes)

    def differing(self, other: SegmenterConfig, step: Step) -> list[str]:
        """Names of the settings that a step reads and that the two have different.

        >>> SegmenterConfig().differing(SegmenterConfig(size_px=768, blur=0), "prepare")
        ['size_px']
        """
        names = [f.name for f in dataclasses.fields(self) if f.metadata["step"] == step]
        return [name for name in names if getattr(self, name) != getattr(other, name)]

    def to_dict(self) -> dict[str, Any]:
        """All settings as plain JSON values, {name: value}."""
        return {**dataclasses.asdict(self), "refine_options": dict(self.refine_options)}


_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", Mapping: "a table"}


def _check(setting: dataclasses.Field[Any], value: Any) -> None:
    """Raise ConfigError for an impossible value: another type, none of the choices, out of range or not finite."""
    allowed = _choices()[setting.name]
    if allowed and not any(_admits(choice, value) for choice in allowed):
        names = ", ".join(sorted(_KINDS.get(choice, str(choice)) for choice in allowed))
        raise ConfigError(f"{setting.name} = {value!r} is not possible; choose from {names}")
    low, high = setting.metadata["range"]
    if isinstance(value, int | float) and not isinstance(value, bool) and not low <= value <= high:
        raise ConfigError(f"{setting.name} = {value} is out of range; it must lie in [{low}, {high}]")


@cache
def _choices() -> dict[str, tuple[Any, ...]]:
    """{setting: the literal values and plain types that it admits; empty = anything}."""
    return {name: _allowed(hint) for name, hint in get_type_hints(SegmenterConfig).items()}


def _allowed(hint: Any) -> tuple[Any, ...]:
    if hint in (int, float, bool, str, type(None)):
        return (None,) if hint is type(None) else (hint,)
    if "Mapping" in str(hint):
        return (Mapping,)
    found: list[Any] = []
    for arg in get_args(hint):
        found.extend(_allowed(arg) or (arg,))
    return tuple(found)


def _admits(choice: Any, value: Any) -> bool:
    if choice is Mapping:
        return isinstance(value, Mapping)
    if not isinstance(choice, type):
        return value == choice and isinstance(value, type(choice))
    if choice is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is choice
