"""Trains the pocket model: python training/train.py --data ../shared/data/pairs --work DIR [--seed S]

Runs every step that is not done yet (feature caches, vocabulary, alignment, matching) and resumes from checkpoints.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from batches import Batches
from cache import fill
from losses import Auxiliary, losses
from samples import Knowledge
from start import THAWED, imagenet_probs, new_model
from torch import nn

from pnp_ovss.vlms.pocket_model import PocketModel, save_pocket


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training run."""

    steps: int = 1500
    batch: int = 32
    sizes_px: tuple[int, ...] = (256,)
    rate: float = 1e-3
    thaw_from: float = 2.0
    """Share of the steps after which the trunk's last three blocks learn too; above 1: never."""
    thawed_rate: float = 1e-4
    seed: int = 0


def parameter_groups(model: PocketModel, auxiliary: Auxiliary, recipe: Recipe) -> list[dict]:
    """Text side and projections at full rate, the trunk's last blocks slower, word embeddings fixed."""
    last = model.image_encoder.trunk.blocks[-THAWED:]  # their 1 x 1 convolutions: the depthwise ones are slow in bfloat16
    trunk = [p for block in last for part in (block.expand, block.project) for p in part.parameters()]
    trunk += model.image_encoder.trunk.head.parameters()
    known = {id(p) for p in model.image_encoder.trunk.parameters()}
    known.add(id(model.text_encoder.embeddings.word_embeddings.weight))
    rest = [p for p in model.parameters() if id(p) not in known]
    return [
        {"params": rest, "lr": recipe.rate, "weight_decay": 0.02},
        {"params": list(auxiliary.parameters()), "lr": recipe.rate, "weight_decay": 0.0},
        {"params": trunk, "lr": recipe.thawed_rate, "weight_decay": 0.01},
    ]


def schedule(step: int, steps: int) -> float:
    """Linear warm-up over 5 %, then cosine down to 2 %."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.02 + 0.98 * 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * (step - warm) / (steps - warm)))))


class Run:
    """The state of one training run, saved and restored as a whole."""

    def __init__(self, recipe: Recipe, model: PocketModel, batches: Batches, folder: Path):
        self.recipe, self.model, self.batches, self.folder = recipe, model, batches, folder
        self.auxiliary = Auxiliary(model.config.width)
        self.groups = parameter_groups(model, self.auxiliary, recipe)
        self.optimizer = torch.optim.AdamW(self.groups, betas=(0.9, 0.98))
        self.bases = [group["lr"] for group in self.groups]
        self.step = 0

    def thawed(self) -> bool:
        """Whether the trunk's last blocks are learning at this step."""
        return self.step >= self.recipe.thaw_from * self.recipe.steps

    def save(self) -> None:
        """Checkpoint, atomically."""
        state = {"step": self.step, "model": self.model.state_dict(), "auxiliary": self.auxiliary.state_dict()}
        state["optimizer"] = self.optimizer.state_dict()
        torch.save(state, self.folder / "checkpoint.tmp")
        (self.folder / "checkpoint.tmp").rename(self.folder / "checkpoint.pt")

    def resume(self) -> None:
        """Continue where the last checkpoint is, if there is one."""
        path = self.folder / "checkpoint.pt"
        if path.exists():
            state = torch.load(path, weights_only=True)
            self.step = state["step"]
            self.model.load_state_dict(state["model"])
            self.auxiliary.load_state_dict(state["auxiliary"])
            self.optimizer.load_state_dict(state["optimizer"])

    def advance(self) -> dict[str, float]:
        """One optimizer step; the parts of the loss."""
        for group, base in zip(self.optimizer.param_groups, self.bases, strict=True):
            group["lr"] = base * schedule(self.step, self.recipe.steps)
        for parameter in self.groups[2]["params"]:
            parameter.requires_grad_(self.thawed())
        sizes = self.recipe.sizes_px
        size_px = sizes[self.step % len(sizes)]
        batch = self.batches.draw(round(self.recipe.batch * (256 / size_px) ** 2), size_px)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            parts = losses(self.model, self.auxiliary, batch)
        total = sum(value for name, value in parts.items() if name != "accuracy")
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_([p for g in self.groups for p in g["params"] if p.grad is not None], 1.0)
        self.optimizer.step()
        self.step += 1
        return {name: float(value.detach()) for name, value in parts.items()}

    def finish(self) -> None:
        """All steps, with a line of means in the log every 50 steps and a checkpoint every 200."""
        sums, began = {}, time.monotonic()
        while self.step < self.recipe.steps:
            for name, value in self.advance().items():
                sums[name] = sums.get(name, 0.0) + value / 50
            if self.step % 50 == 0:
                line = {"step": self.step, **{k: round(v, 4) for k, v in sums.items()}, "seconds": round(time.monotonic() - began)}
                print(json.dumps(line), flush=True)
                with open(self.folder / "log.jsonl", "a", encoding="utf-8") as log:
                    log.write(json.dumps(line) + "\n")
                sums = {}
            if self.step % 200 == 0:
                self.save()
        self.save()


def main() -> None:
    """Parse the command line and do what is left to do."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--name", default="run")
    parser.add_argument("--pseudo", type=Path, help="self-training targets (pseudo.npz)")
    parser.add_argument("--start", type=Path, help="checkpoint to begin from instead of the ImageNet alignment")
    for name, value in asdict(Recipe()).items():
        if isinstance(value, tuple):
            parser.add_argument(f"--{name.replace('_', '-')}", type=int, nargs="+", default=value)
        else:
            parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    options = parser.parse_args()
    recipe = Recipe(**{name: tuple(v) if isinstance(v := getattr(options, name), list) else v for name in asdict(Recipe())})
    folder = options.work / options.name
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    for size_px in recipe.sizes_px if not options.start else ():
        fill(options.data, options.work, size_px, flip=False)
    probs = imagenet_probs(options.work)
    knowledge = Knowledge(options.data, probs)
    model, tokenizer = new_model(options.data, thawed=recipe.thaw_from <= 1)
    if options.start:
        model.load_state_dict(torch.load(options.start, weights_only=True)["model"])
    batches = Batches(knowledge, tokenizer, options.work, recipe.seed)
    if options.pseudo:
        batches.read_pseudo(options.pseudo)
    run = Run(recipe, model, batches, folder)
    run.resume()
    run.finish()
    save_pocket(model, folder / "pocket.safetensors", {"recipe": json.dumps(asdict(recipe))})


if __name__ == "__main__":
    main()
