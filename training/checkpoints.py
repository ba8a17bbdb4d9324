"""Weights between the stages: of a checkpoint or a weights file, taken over, averaged, written.

python training/checkpoints.py OUT.safetensors FILE FILE ...: the mean of runs that began with the same weights, and of these.
"""

import shutil
import sys
import tempfile
from collections.abc import Sequence
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


def average(checkpoints: Sequence[Path], out: Path) -> Path:
    """Write the mean of checkpoints' weights, the others trained on from the first (Wortsman et al., CVPR and ICML 2022).

    What the first knew of names with few photos in the others' targets stays.
    """
    stages = [read_stage(path) for path in checkpoints]
    mean = {name: sum(stage["model"][name] for stage in stages) / len(stages) for name in stages[0]["model"]}
    torch.save({"model": mean, "recipe": stages[-1]["recipe"]}, out)
    return out


def write_weights(checkpoint: Path, out: Path) -> None:
    """The weights of a checkpoint as the package reads them, with the vocabulary beside them."""
    out.parent.mkdir(parents=True, exist_ok=True)
    model, _ = blank_model()
    model.load_state_dict(read_stage(checkpoint)["model"])
    save_pocket(model, out, {"checkpoint": f"{checkpoint.parent.name}/{checkpoint.name}"})
    for words in ("pocket-vocab.txt", "pocket-words.txt"):
        shutil.copy(weights_folder() / words, out.parent)


if __name__ == "__main__":
    target, *files = map(Path, sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        write_weights(average(files, Path(folder) / "mean.pt"), target)
