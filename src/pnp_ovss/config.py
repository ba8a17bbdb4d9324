"""Every setting of the method: name, type, default, range, the step that reads it and one sentence, written once.

`SegmenterConfig()` alone is the paper's method with its choice for BLIP. What a checkpoint or a named method changes
stands in files (`pnp_ovss.presets`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pnp_ovss.errors import ConfigError
from pnp_ovss.settings import Step, check_names, check_settings, setting

Gradient = Literal["match_logit", "margin", "paper-literal", "none"]
Scale = Literal["per_class", "global", "none"]
Policy = Literal["all", "itm", "file", "oracle", "clip"]
Precision = Literal["float32", "bfloat16", "bfloat16-vision", "auto"]


@dataclass(frozen=True, kw_only=True)
class SegmenterConfig:
    """All settings of one segmentation. Layers and heads count from 1, as in the paper's Table 2.

    Each field says in its metadata which step reads it: `load`, `prepare`, `look` or `label`.
    """

    # What the checkpoint decides (Table 2).
    layer: int = setting(8, "look", "Cross-attention layer, from 1.", 1, 1000)
    head: int | Literal["mean"] = setting(
        10, "look", "Attention head, from 1, or mean: the mean over the layer's heads (Table 6).", 1, 1000
    )
    threshold: float = setting(
        0.15,
        "label",
        "T of §3.3, compared with the sum of passes, or with its min-max map (accumulate raw; equal_mass).",
        0,
        1e9,
    )
    size_px: int = setting(
        336, "prepare", "Side S of the model's square input, px; the short side with keep_aspect.", 16, 4096
    )
    precision: Precision = setting(
        "float32",
        "load",
        "Of the weights: bfloat16 all, bfloat16-vision the image side's, auto what the device is good at.",
    )

    # Input and prompt (§3).
    keep_aspect: bool = setting(
        False, "prepare", "Keep the photo's aspect ratio: short side S, both sides multiples of the patch size."
    )
    template: str = setting(
        "A picture of {classes}", "prepare", "The prompt; {classes} in it becomes the names, with blanks between."
    )
    prompted: Literal["kept", "all"] = setting(
        "kept", "prepare", "Names in the prompt: those that compete, or all whatever competes (CVPR-time scripts)."
    )

    # Which classes may win (step 0).
    policy: Policy = setting(
        "itm",
        "prepare",
        "Which classes compete: itm (those that the model's matching finds), all, clip (those that a CLIP finds), file "
        "(a list for each photo), oracle (those of the ground truth).",
    )
    match_threshold: float = setting(
        0.5, "prepare", "Policies itm and clip: a class competes if its score reaches this.", 0, 1
    )
    match_relative: float = setting(
        0.0, "prepare", "Policies itm and clip: and this share of the photo's best score.", 0, 1
    )
    match_top_k: int = setting(
        0, "prepare", "Policies itm and clip: at most so many classes, the best; 0 = any number.", 0, 100_000
    )
    clip_model: str = setting("", "prepare", "Policy clip: hub id or folder of the CLIP; empty = the paper's.")
    bank: str = setting(
        "", "prepare", "Photos by which names are calibrated: a file of `calibrate`, or pocket; empty = none."
    )
    rivals: str = setting(
        "", "prepare", "Names, by commas, that may win pixels where they are found; these become background (ours)."
    )
    soft_presence: bool = setting(
        False, "label", "Competition equal_mass: weigh each class by how sure it is that it is there (ours)."
    )
    look_alikes: float = setting(
        1.0,
        "label",
        "Of two classes whose maps before completion correlate by more than this the surer alone competes; 1 = off (ours).",
        0,
        1,
    )
    empty: Literal["background", "best"] = setting(
        "background", "prepare", "When no class is kept: all background, or the best-matching class."
    )

    # Saliency (§3.1, §3.2).
    gradient: Gradient = setting(
        "match_logit", "look", "What is differentiated by the attention; paper-literal: Eq. 1 as printed, inverted."
    )
    softmax_over_classes: bool = setting(
        False, "look", "Softmax over the K maps before anything else (the text after Fig. 3; with gradient none)."
    )
    baseline_prompt: str = setting(
        "",
        "look",
        "A text whose map is subtracted from every class's, as 'Describe the picture.' (ours); empty = none.",
    )
    drops: int = setting(4, "look", "Drops of Saliency DropOut, R; R + 1 passes are summed.", 0, 100)
    drop_share: float = setting(0.5, "look", "Share of the remaining patches that a drop takes.", 0, 1)
    drop_patches: int | None = setting(
        None, "look", "Drop this many patches instead of a share (10 in the authors' later code).", 1, 1_000_000
    )
    drop_score: Literal["classes", "tokens"] = setting(
        "classes",
        "look",
        "U of Eq. 2: summed over classes, or over their tokens and the closing [SEP] (authors' code).",
    )
    hole: Literal["black", "mean", "remove_tokens"] = setting(
        "black", "look", "A dropped patch is black before normalisation, zero after it, or leaves the token sequence."
    )

    # From passes to scores (§3.3).
    accumulate: Literal["per_pass_minmax", "raw"] = setting(
        "per_pass_minmax", "label", "Sum of min-max maps, or the min-max of the raw sum."
    )
    normalise: Scale = setting(
        "per_class", "label", "The scale of every min-max: each class its own, one for all classes, or none."
    )
    first_pass_weight: float = setting(
        1.0, "label", "Weight of the first pass in the sum (2 in the authors' code).", 0, 100
    )
    mirror: bool = setting(
        False,
        "look",
        "Average the maps of the photo and its mirror image before the competition (ours; twice the time).",
    )
    completion: Literal["none", "affinity"] = setting(
        "none", "label", "Spread the summed maps over image tokens that are alike (ours); none = the paper's."
    )
    affinity_power: float = setting(
        12.0, "label", "Completion: power of the tokens' cosine; the higher, the fewer tokens count as alike.", 1, 1000
    )
    competition: Literal["overlay", "equal_mass"] = setting(
        "overlay",
        "label",
        "Who wins a pixel: blurred masks against each other (overlay, the paper's), or equal_mass (ours).",
    )
    share_blur: float = setting(
        0.02, "label", "Competition equal_mass: the blur of the class shares, as a share of the longer side.", 0, 1
    )
    thresholding: Literal["binary", "soft"] = setting(
        "binary", "label", "Above T, 1 or the min-max map's value (authors' later code)."
    )
    resize: Literal["bilinear", "bilinear-align-corners", "bicubic"] = setting(
        "bilinear", "label", "How maps are enlarged from the patch grid to the photo."
    )
    blur: float = setting(
        0.05, "label", "Standard deviation of the Gaussian as a share of the photo's longer side; 0 = none.", 0, 1
    )
    background: Literal["complement", "zero_max", "none"] | float = setting(
        "complement", "label", "The background channel; a number is a constant score.", 0, 1000
    )
    output_px: int = setting(2048, "label", "Longer side at which scores of larger photos are computed.", 16, 16384)
    refine: str = setting(
        "densecrf",
        "label",
        "What sharpens the masks: densecrf, densecrf-compiled, pamr, densecrf-reference, sam (trained on masks) or none.",
    )
    core_share: float = setting(
        0.0, "label", "Share of its pixels that refining leaves a class at least (ours); 0 = it may vanish.", 0, 1
    )
    refine_options: Mapping[str, Any] = setting({}, "label", "The refiner's options, as for get_refiner.")

    def __post_init__(self) -> None:
        check_settings(self)
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
        check_names(self, changes)
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
