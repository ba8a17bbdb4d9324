"""Where a promptable segmenter's weights come from: a folder or the hub's cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from pnp_ovss.checkpoint import read_config, refusing
from pnp_ovss.errors import ModelError
from pnp_ovss.extras import need
from pnp_ovss.refiners.promptable import SamSegmenter, mobile_sam
from pnp_ovss.refiners.promptable_presets import check_hash, promptable_presets
from pnp_ovss.words import counted

PICKLE = "mobile_sam.pt"


def load_promptable(model: str, device: str = "cpu") -> SamSegmenter:
    """MobileSAM, SAM or SAM 2, by a name of `promptable_presets`, a hub id that is in the cache, a folder or mobile_sam.pt.

    Raises ModelError for weights that are not there or not what they should be, DependencyError without transformers.
    """
    need("transformers", "refiner 'sam'", "hub")
    place = _local(model)
    if place.is_file() or (place / PICKLE).is_file():
        found = _mobile(place if place.is_file() else place / PICKLE, model)
    else:
        found = _transformers(place)
    found.model.to("cuda" if device == "auto" and torch.cuda.is_available() else "cpu" if device == "auto" else device)
    return found


def _local(model: str) -> Path:
    """The file or folder of a model that is on this machine. Raises ModelError."""
    if Path(model).exists():
        return Path(model)
    from huggingface_hub import snapshot_download

    preset = promptable_presets().get(model, {})
    hub_id = preset.get("hub_id", model)
    try:
        folder = Path(snapshot_download(hub_id, local_files_only=True))
    except Exception as error:  # whatever says that it is not in the cache
        known = ", ".join(promptable_presets())
        how = f"pnp-ovss models fetch {model}" if preset else f"hf download {hub_id}"
        raise ModelError(
            f"refiner 'sam': no weights of {model!r} here; run `{how}`, or name a folder or one of {known}"
        ) from error
    return folder / preset["file"] if "file" in preset else folder


def _mobile(path: Path, name: str) -> SamSegmenter:
    check_hash(path, promptable_presets()["mobile-sam"]["sha256"])
    with refusing(path):
        state = torch.load(path, map_location="cpu", weights_only=True)
    return mobile_sam(state, name)


def _transformers(folder: Path) -> SamSegmenter:
    """SAM or SAM 2 from a folder's safetensors, every weight there."""
    settings = read_config(folder)
    kind = settings["model_type"]
    if kind not in ("sam", "sam2", "sam2_video"):
        raise ModelError(f"{folder}: model_type is {kind!r}; the refiner needs sam or sam2")
    import transformers

    model_class: Any = transformers.SamModel if kind == "sam" else transformers.Sam2Model
    config = model_class.config_class.from_dict({**settings, "model_type": kind.removesuffix("_video")})
    with refusing(folder):
        model, info = model_class.from_pretrained(
            folder, config=config, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
    if missing := sorted(info["missing_keys"]):
        raise ModelError(f"{folder}: {counted(len(missing), 'weight')} missing ({missing[0]}, ...); fetch it again")
    side = model.config.vision_config.image_size if kind == "sam" else model.config.prompt_encoder_config.image_size
    return SamSegmenter(model.eval().requires_grad_(False), side=side, squash=kind != "sam")
