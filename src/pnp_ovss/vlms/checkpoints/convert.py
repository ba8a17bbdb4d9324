"""Original checkpoints (pickles) of ALBEF, mPLUG and BLIP to a folder that the adapters load.

What is written is safetensors. The names and shapes must be exactly those of the family's model.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from pnp_ovss.errors import ConfigError, ModelError
from pnp_ovss.extras import need
from pnp_ovss.files import remove_temporaries, replacing, write_atomically, write_json, writing
from pnp_ovss.presets import built_in_presets
from pnp_ovss.vlms.albef import drop_cross_attention
from pnp_ovss.vlms.checkpoints.digests import MADE, note_made
from pnp_ovss.vlms.checkpoints.key_maps import Converted, State, convert_albef, convert_blip, convert_mplug
from pnp_ovss.vlms.checkpoints.pickles import read_checkpoint, read_shards
from pnp_ovss.vlms.mplug import MplugModel

PRESET_OF_FILE = {
    "ALBEF": "albef", "mscoco": "albef-coco", "flickr30k": "albef-flickr",
    "mplug_large": "mplug-large", "mplug_large_v2": "mplug-large-v2", "mplug_base": "mplug-base",
    "model_large_retrieval_coco": "blip-large-coco", "model_large_retrieval_flickr": "blip-large-flickr",
    "model_base_retrieval_coco": "blip-base-coco", "model_base_retrieval_flickr": "blip-base-flickr",
}  # fmt: skip
VOCABULARY_HUB_ID = "google-bert/bert-base-uncased"

FAMILIES: dict[str, Callable[[State], Converted]] = {
    "albef": convert_albef,
    "mplug": convert_mplug,
    "blip": convert_blip,
}


def convert_file(path: Path, family: str, out: Path, *, tokenizer: Path | None = None, drop: str | None = None) -> Path:
    """Convert one checkpoint to a folder with model.safetensors, config.json and the tokenizer; returns the folder.

    family: `albef`, `mplug`, `blip`, or `hf` for a `pytorch_model.bin` of transformers, whose names stay and whose
    config and tokenizer lie beside it. tokenizer: vocab.txt, tokenizer.json or their folder (default: beside the
    file, then the hub). drop: a regular expression of names to leave out besides those known to be unused.
    Raises ModelError when the names or shapes are not exactly the family's, ConfigError for another family or a `drop`
    that is no regular expression.
    """
    if family not in (*FAMILIES, "hf"):
        raise ConfigError(f"cannot convert as '{family}'; choose from {', '.join([*FAMILIES, 'hf'])}")
    if family != "hf":
        need("transformers", f"converting as {family}", "hub")
    unwanted = _pattern(drop)
    state = read_shards(path) if path.name.endswith(".index.json") else read_checkpoint(path)
    state = {name: value for name, value in state.items() if not (unwanted and unwanted.search(name))}
    if family == "hf":
        beside = [f for f in (*path.parent.glob("*.json"), *path.parent.glob("*.txt")) if ".index." not in f.name]
        return _write(out, state, None, beside)
    converted = FAMILIES[family](state)
    check_fit(converted, path)
    folder = _write(out, converted.weights, converted.config, [find_vocabulary(path, tokenizer)])
    _write_preset(folder, path.stem, family)
    return folder


def _pattern(drop: str | None) -> re.Pattern[str] | None:
    try:
        return None if drop is None else re.compile(drop)
    except re.error as error:
        raise ConfigError(f"drop = {drop!r} is no regular expression: {error}") from error


def check_fit(converted: Converted, path: Path) -> None:
    """Raise ModelError unless the weights are exactly those of the model that the config describes."""
    wanted = {name: tuple(value.shape) for name, value in empty_model(converted.config).state_dict().items()}
    found = {name: tuple(value.shape) for name, value in converted.weights.items()}
    for problem, names in (
        ("missing", sorted(wanted.keys() - found.keys())),
        ("unknown (leave them out with --drop REGEX if they are not needed)", sorted(found.keys() - wanted.keys())),
        ("of another shape", sorted(n for n in wanted.keys() & found.keys() if wanted[n] != found[n])),
    ):
        if names:
            kind = converted.config["model_type"]
            raise ModelError(f"{path} is not a checkpoint of {kind}: {len(names)} weights are {problem}: {names[:4]}")


def empty_model(config: dict[str, Any]) -> Any:
    """The model without memory for its weights."""
    from transformers import BlipConfig, BlipForImageTextRetrieval

    with torch.device("meta"):
        if config["model_type"] == "mplug":
            return MplugModel(config)
        blip: Any = BlipConfig.from_dict(config.get("blip", config))
        blip.text_config.is_decoder = True
        model = BlipForImageTextRetrieval(blip)
        drop_cross_attention(model.text_encoder, config.get("first_cross_layer", 1))
        return model


def find_vocabulary(path: Path, tokenizer: Path | None) -> Path:
    """BERT's vocab.txt or tokenizer.json: as given, beside the checkpoint, or from the hub. Raises ModelError."""
    if tokenizer is not None and tokenizer.is_file():
        return tokenizer
    folder = tokenizer or path.parent
    for name in ("tokenizer.json", "vocab.txt"):
        if (folder / name).is_file():
            return folder / name
    if tokenizer is not None:
        raise ModelError(f"{tokenizer} is neither a vocab.txt, a tokenizer.json nor a folder with one of them")
    return _hub_vocabulary(path)


def _hub_vocabulary(path: Path) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        return Path(hf_hub_download(VOCABULARY_HUB_ID, "vocab.txt", etag_timeout=5))
    except (LocalEntryNotFoundError, HfHubHTTPError, OfflineModeIsEnabled, ValueError, OSError) as error:
        raise ModelError(
            f"{path} needs BERT's vocabulary: there is none beside it and the hub could not be reached "
            f"({type(error).__name__}); copy vocab.txt of {VOCABULARY_HUB_ID} there or pass --tokenizer FILE"
        ) from error


def _write_preset(folder: Path, stem: str, family: str) -> None:
    """The settings of the built-in preset that the file belongs to by its name, or of the family's first."""
    alike = [preset for preset in built_in_presets() if preset.family == family]
    name = PRESET_OF_FILE.get(stem, alike[0].name)
    shutil.copyfile(Path(str(files("pnp_ovss"))) / "presets" / f"{name}.toml", folder / "preset.toml")


def _write(out: Path, weights: State, config: Mapping[str, Any] | None, copied: Sequence[Path]) -> Path:
    """Every file whole or not at all, the weights after the others, `made.json` last."""
    with writing(out, "choose another folder for the converted model"):
        out.mkdir(parents=True, exist_ok=True)
        (out / MADE).unlink(missing_ok=True)
        for file in copied:
            if file.resolve() != (out / file.name).resolve():
                write_atomically(out / file.name, file.read_bytes())
        if config is not None:
            write_json(out / "config.json", config)
        _write_weights(out / "model.safetensors", weights)
    note_made(out)
    return out


def _write_weights(path: Path, weights: State) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    remove_temporaries(path.parent)  # of a conversion that was killed
    with replacing(path) as temporary:
        # .clone(): safetensors refuses tensors that share memory, as tied weights do.
        tensors = {name: value.contiguous().clone() for name, value in weights.items()}
        try:
            save_file(tensors, temporary, metadata={"format": "pt"})
        except SafetensorError as error:  # a full disk, too
            raise OSError(str(error)) from error
