"""The settings as keyword arguments that editors and type checkers know: a mirror of `SegmenterConfig`, tested to be one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from pnp_ovss.config import Gradient, Policy, Precision, Scale


class Settings(TypedDict, total=False):
    """Any of the fields of `SegmenterConfig`, where each is explained."""

    layer: int
    head: int | Literal["mean"]
    threshold: float
    size_px: int
    precision: Precision
    keep_aspect: bool
    template: str
    prompted: Literal["kept", "all"]
    policy: Policy
    match_threshold: float
    match_relative: float
    match_top_k: int
    clip_model: str
    bank: str
    rivals: str
    soft_presence: bool
    look_alikes: float
    empty: Literal["background", "best"]
    gradient: Gradient
    softmax_over_classes: bool
    baseline_prompt: str
    drops: int
    drop_share: float
    drop_patches: int | None
    drop_score: Literal["classes", "tokens"]
    hole: Literal["black", "mean", "remove_tokens"]
    accumulate: Literal["per_pass_minmax", "raw"]
    normalise: Scale
    first_pass_weight: float
    mirror: bool
    completion: Literal["none", "affinity"]
    affinity_power: float
    competition: Literal["overlay", "equal_mass"]
    share_blur: float
    thresholding: Literal["binary", "soft"]
    resize: Literal["bilinear", "bilinear-align-corners", "bicubic"]
    blur: float
    background: Literal["complement", "zero_max", "none"] | float
    output_px: int
    refine: str
    core_share: float
    refine_options: Mapping[str, Any]
