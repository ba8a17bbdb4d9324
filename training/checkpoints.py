"""Weights between the stages: of a checkpoint or a weights file, taken over, averaged, written."""

import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from recipes import STUDENT
from safetensors.torch import load_file
from start import blank_model

from pnp_ovss.vlms.encoders.pocket_model import PocketModel, save_pocket, weights_folder


def read_stage(path: Path) -> dict:
    """Weights and recipe of a checkpoint, or of a weights file, which is a student's."""
    if path.suffix != ".safetensors":
        return torch.load(path, weights_only=True)
    weights = {name: w.float() if w.is_floating_point() else w for name, w in load_file(path).items()}
    return {"model": weights, "recipe": asdict(STUDENT)}


def take_over(model: PocketModel, checkpoint: Path, scale: float) -> None:
    """Load a stage's weights; the first layer's queries shrink as the factor on the evidence grows."""
    state = read_stage(checkpoint)
    model.load_state_dict(state["model"])
    query = model.text_encoder.encoder.layer[0].crossattention.self.query
    growth = scale / state["recipe"]["scale"]
    query.weight.data.div_(growth)
    query.bias.data.div_(growth)


def average(checkpoints: tuple[Path, Path], out: Path) -> Path:
    """Write the mean of two checkpoints' weights, the second trained on from the first (Wortsman et al., CVPR 2022).

    What the first knew of names with few photos in the second's targets stays; places are those of the second.
    """
    first, second = map(read_stage, checkpoints)
    mean = {name: (first["model"][name] + second["model"][name]) / 2 for name in first["model"]}
    torch.save({"model": mean, "recipe": second["recipe"]}, out)
    return out


def write_weights(checkpoint: Path, out: Path) -> None:
    """The weights of a checkpoint as the package reads them, with the vocabulary beside them."""
    out.parent.mkdir(parents=True, exist_ok=True)
    model, _ = blank_model()
    model.load_state_dict(read_stage(checkpoint)["model"])
    save_pocket(model, out, {"checkpoint": f"{checkpoint.parent.name}/{checkpoint.name}"})
    shutil.copy(weights_folder() / "pocket-vocab.txt", out.parent)
