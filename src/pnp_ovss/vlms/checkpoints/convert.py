"""Original checkpoints (pickles) of ALBEF, mPLUG and BLIP to a folder that the adapters load.

What is written is safetensors. The names and shapes must be exactly those of the family's model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from pnp_ovss.checkpoint import check_values, refusing
from pnp_ovss.errors import ConfigError, ModelError, OutputError
from pnp_ovss.extras import need
from pnp_ovss.files import json_text, remove_temporaries, replacing, write_atomically, writing
from pnp_ovss.presets import built_in_presets
from pnp_ovss.vlms.albef import drop_cross_attention
from pnp_ovss.vlms.checkpoints.digests import MADE, begin_made, is_begun, note_made
from pnp_ovss.vlms.checkpoints.key_maps import Converted, State, convert_albef, convert_blip, convert_mplug
from pnp_ovss.vlms.checkpoints.pickles import read_checkpoint, read_shards
from pnp_ovss.vlms.encoders.wordpiece import WordPieceTokenizer, read_tokenizer
from pnp_ovss.vlms.mplug import MplugModel

PRESET_OF_FILE = {
    "ALBEF": "albef", "mscoco": "albef-coco", "flickr30k": "albef-flickr",
    "mplug_large": "mplug-large", "mplug_large_v2": "mplug-large-v2", "mplug_base": "mplug-base",
    "model_large_retrieval_coco": "blip-large-coco", "model_large_retrieval_flickr": "blip-large-flickr",
    "model_base_retrieval_coco": "blip-base-coco", "model_base_retrieval_flickr": "blip-base-flickr",
}  # fmt: skip
VOCABULARY_HUB_ID = "google-bert/bert-base-uncased"
VOCABULARIES = ("tokenizer.json", "vocab.txt")
"""By these names the loaders find a vocabulary, the first one first."""
WEIGHTS, PRESET = "model.safetensors", "preset.toml"

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
    that is no regular expression, OutputError for a folder with files that no conversion made or that were changed since.
    """
    if family not in (*FAMILIES, "hf"):
        raise ConfigError(f"cannot convert as '{family}'; choose from {', '.join([*FAMILIES, 'hf'])}")
    if family == "hf" and tokenizer is not None:
        raise ConfigError(f"tokenizer = {tokenizer}: with hf the tokenizer is taken from beside {path}; copy it there")
    if family != "hf":
        need("transformers", f"converting as {family}", "hub")
    unwanted = _pattern(drop)
    state = read_shards(path) if path.name.endswith(".index.json") else read_checkpoint(path)
    state = {name: value for name, value in state.items() if not (unwanted and unwanted.search(name))}
    if not state:
        raise ConfigError(f"drop = {drop!r} leaves no weight of {path}")
    if family == "hf":
        return _write(out, state, {} if out.resolve() == path.parent.resolve() else _beside(path.parent))
    with refusing(path, f"its weights do not make a model of {family}"):
        converted = FAMILIES[family](state)
        check_fit(converted, path)
    vocabulary = find_vocabulary(path, tokenizer)
    made = {"config.json": json_text(converted.config).encode(), vocabulary_name(vocabulary): vocabulary.read_bytes()}
    return _write(out, converted.weights, {**made, PRESET: _preset(path.stem, family)})


def _beside(folder: Path) -> dict[str, bytes]:
    """{name: content} of the configuration and tokenizer in a folder of transformers' layout."""
    found = (file for kind in ("*.json", "*.txt", "*.jinja") for file in sorted(folder.glob(kind)))
    return {f.name: f.read_bytes() for f in found if f.is_file() and ".index." not in f.name and f.name != MADE}


def _pattern(drop: str | None) -> re.Pattern[str] | None:
    try:
        return None if drop is None else re.compile(drop)
    except re.error as error:
        raise ConfigError(f"drop = {drop!r} is no regular expression: {error}") from error


def check_fit(converted: Converted, path: Path) -> None:
    """Raise ModelError unless the weights are exactly those of the model that the config describes."""
    check_values(converted.config, path)
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


def vocabulary_name(file: Path) -> str:
    """By which of `VOCABULARIES` a file must be found, whatever it is called. Raises ModelError for what is none."""
    if file.suffix == ".json":
        read_tokenizer(file)
        return VOCABULARIES[0]
    with refusing(file, "it is no vocabulary of BERT's; give vocab.txt or tokenizer.json of bert-base-uncased"):
        WordPieceTokenizer.from_vocabulary(file)
    return VOCABULARIES[1]


def find_vocabulary(path: Path, tokenizer: Path | None) -> Path:
    """BERT's vocab.txt or tokenizer.json: as given, beside the checkpoint, or from the hub. Raises ModelError."""
    if tokenizer is not None and tokenizer.is_file():
        return tokenizer
    folder = tokenizer or path.parent
    for name in VOCABULARIES:
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


def _preset(stem: str, family: str) -> bytes:
    """The built-in preset that the file belongs to by its name, or the family's first."""
    alike = [preset for preset in built_in_presets() if preset.family == family]
    name = PRESET_OF_FILE.get(stem, alike[0].name)
    return (files("pnp_ovss") / "presets" / f"{name}.toml").read_bytes()


def _write(out: Path, weights: State, beside: Mapping[str, bytes]) -> Path:
    """Every file whole or not at all, the weights after the others, `made.json` last."""
    with writing(out, "choose another folder for the converted model"):
        _check_out(out, beside)
        out.mkdir(parents=True, exist_ok=True)
        begin_made(out)
        for name, data in beside.items():
            write_atomically(out / name, data)
        _write_weights(out / WEIGHTS, weights)
    note_made(out)
    return out


def _check_out(out: Path, beside: Mapping[str, bytes]) -> None:
    """Refuse, before anything is written, to replace what no conversion made or a preset that may have been changed since,
    and a tokenizer.json that would be taken for the vocabulary that is written. Raises OutputError."""
    begun = is_begun(out)
    first = VOCABULARIES[:1] if PRESET in beside else ()
    for name in dict.fromkeys((*first, *beside, WEIGHTS)):
        file = out / name
        other = file.exists() and (name not in beside or file.read_bytes() != beside[name])
        replaced = begun and (name == WEIGHTS or name in beside) and name != PRESET
        if other and not replaced:
            raise OutputError(
                f"{file} is there and is not what the conversion would write; choose another --out, or move it away"
            )


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
