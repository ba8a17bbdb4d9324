"""Trains the pocket model: python training/train.py --data ../shared/data/pairs --work DIR [--seed S]

Runs what is not done yet, resuming from checkpoints: feature caches, alignment with ImageNet, stage "words" (captions and tags
only, frozen trunk), the self-training targets of its maps, stage "masks" (last trunk blocks learn), stage "cams" (GradCAM itself is
fitted to the targets), a second round of targets from that GradCAM, stage "again" (all of it once more, a third
of the steps on photos with holes), stage "cover" (the same, fitting the thresholded GradCAM as well). Then DIR/pocket.safetensors.
"""

import argparse
import json
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from batches import Batches
from cache import fill
from forward import SCALE
from losses import Auxiliary, losses
from pseudo import FIRST, SECOND, SIZES_PX, Teaching, write_targets
from start import THAWED, keep_memory, new_model, read_knowledge
from torch import nn

from pnp_ovss.vlms.encoders.efficientnet import load_trunk
from pnp_ovss.vlms.encoders.pocket_model import PocketModel, save_pocket, weights_folder


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training run."""

    steps: int
    batch: int = 32
    sizes_px: tuple[int, ...] = (256,)
    rate: float = 1e-3
    thaw_from: float = 2.0
    """Share of the steps after which the trunk's last three blocks learn too; above 1: never."""
    thawed_rate: float = 1e-4
    targets: str = ""
    """File of the self-training targets in the work folder; empty: none."""
    cams: bool = False
    """Whether GradCAM itself is fitted to those targets (differentiated twice)."""
    holes: int = 0
    """Every how many steps the photos have holes, as in Saliency DropOut; 0: never."""
    cover: float = 0.0
    """Weight of the overlap of the thresholded GradCAM with the targets."""
    scale: float = SCALE
    seed: int = 0


WORDS = Recipe(steps=900, rate=1e-3)
MASKS = Recipe(steps=1300, rate=6e-4, sizes_px=SIZES_PX, thaw_from=0.0, targets="pseudo.npz")
CAMS = replace(MASKS, steps=450, batch=20, rate=2e-4, sizes_px=(256,), thawed_rate=3e-5, cams=True, scale=2 * SCALE)
AGAIN = replace(CAMS, steps=900, rate=3e-4, thawed_rate=5e-5, sizes_px=SIZES_PX, targets="pseudo2.npz", holes=3)
COVER = replace(AGAIN, steps=500, rate=2e-4, thawed_rate=3e-5, cover=0.5)


def parameter_groups(model: PocketModel, auxiliary: Auxiliary, recipe: Recipe) -> list[dict]:
    """Text side and projections at full rate, the trunk's last blocks slower, word embeddings fixed."""
    last = model.image_encoder.trunk.blocks[-THAWED:]
    # Only the 1 x 1 convolutions: the weight gradient of depthwise ones is very slow in bfloat16 on a CPU.
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
        self.trunk = load_trunk().bfloat16().to(memory_format=torch.channels_last) if recipe.holes else None

    def thawed(self) -> bool:
        """Whether the trunk's last blocks are learning at this step."""
        return self.step >= self.recipe.thaw_from * self.recipe.steps

    def save(self) -> None:
        """Checkpoint, atomically."""
        state = {"step": self.step, "model": self.model.state_dict(), "auxiliary": self.auxiliary.state_dict()}
        state["optimizer"] = self.optimizer.state_dict()
        state["recipe"] = asdict(self.recipe)
        state["random"] = [random.bit_generator.state for random in self.batches.randoms()]
        torch.save(state, self.folder / "checkpoint.tmp")
        (self.folder / "checkpoint.tmp").rename(self.folder / "checkpoint.pt")

    def resume(self) -> None:
        """Continue where the last checkpoint is, if there is one. Raises SystemExit if that is of another recipe or seed."""
        path = self.folder / "checkpoint.pt"
        if path.exists():
            state = torch.load(path, weights_only=True)
            if Recipe(**state["recipe"]) != self.recipe:
                raise SystemExit(f"{path} is of {state['recipe']}, asked is {self.recipe}; use another --work")
            self.step = state["step"]
            self.model.load_state_dict(state["model"])
            self.auxiliary.load_state_dict(state["auxiliary"])
            self.optimizer.load_state_dict(state["optimizer"])
            for random, saved in zip(self.batches.randoms(), state["random"], strict=True):
                random.bit_generator.state = saved

    def advance(self) -> dict[str, float]:
        """One optimizer step; the parts of the loss."""
        for group, base in zip(self.optimizer.param_groups, self.bases, strict=True):
            group["lr"] = base * schedule(self.step, self.recipe.steps)
        for parameter in self.groups[2]["params"]:
            parameter.requires_grad_(self.thawed())
        sizes = self.recipe.sizes_px
        size_px = sizes[self.step % len(sizes)]
        count = round(self.recipe.batch * (256 / size_px) ** 2)
        if self.recipe.holes and self.step % self.recipe.holes == 1:
            batch = self.batches.draw_holed(count, size_px, self.trunk)
        else:
            batch = self.batches.draw(count, size_px)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            parts = losses(
                self.model,
                self.auxiliary,
                batch,
                scale=self.recipe.scale,
                cams=self.recipe.cams,
                cover=self.recipe.cover,
            )
        total = sum(value for name, value in parts.items() if name != "accuracy")
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_([p for g in self.groups for p in g["params"] if p.grad is not None], 1.0)
        self.optimizer.step()
        self.step += 1
        return {name: float(value.detach()) for name, value in parts.items()}

    def finish(self) -> None:
        """All steps, with a line of means in the log every 50 steps and a checkpoint every 200."""
        sums: dict[str, float] = {}
        began = time.monotonic()
        while self.step < self.recipe.steps:
            for name, value in self.advance().items():
                sums[name] = sums.get(name, 0.0) + value / 50
            if self.step % 50 == 0:
                line = {
                    "step": self.step,
                    **{k: round(v, 4) for k, v in sums.items()},
                    "seconds": round(time.monotonic() - began),
                }
                print(json.dumps(line), flush=True)
                with open(self.folder / "log.jsonl", "a", encoding="utf-8") as log:
                    log.write(json.dumps(line) + "\n")
                sums = {}
            if self.step % 200 == 0:
                self.save()
        self.save()


def take_over(model: PocketModel, checkpoint: Path, scale: float) -> None:
    """Load a stage's weights; the first layer's queries shrink as the factor on the evidence grows."""
    state = torch.load(checkpoint, weights_only=True)
    model.load_state_dict(state["model"])
    query = model.text_encoder.encoder.layer[0].crossattention.self.query
    growth = scale / state["recipe"]["scale"]
    query.weight.data.div_(growth)
    query.bias.data.div_(growth)


def run_stage(recipe: Recipe, options: argparse.Namespace, name: str, start: Path | None) -> Path:
    """One training run, from `start`'s weights if given; the path of its last checkpoint."""
    say("stage", name)
    folder = options.work / name
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    knowledge = read_knowledge(options.data, options.work)
    model, tokenizer = new_model(options.data, thawed=recipe.thaw_from <= 1)
    if start:
        take_over(model, start, recipe.scale)
    batches = Batches(knowledge, tokenizer, options.work, recipe.seed)
    if recipe.targets:
        batches.read_pseudo(options.work / recipe.targets)
    run = Run(recipe, model, batches, folder)
    run.resume()
    run.finish()
    save_pocket(model, folder / "pocket.safetensors", {"recipe": json.dumps(asdict(recipe))})
    return folder / "checkpoint.pt"


def run_targets(options: argparse.Namespace, name: str, teacher: Path, how: Teaching) -> None:
    """Self-training targets of one round, if they are not there."""
    say("targets", name)
    if not (options.work / name).exists():
        write_targets(options.data, options.work, teacher, options.work / name, how)


def say(kind: str, name: str) -> None:
    """Tell the time at which a part of the run begins."""
    print(json.dumps({kind: name, "at": time.strftime("%H:%M:%S")}), flush=True)


def main() -> None:
    """Parse the command line and do what is left to do."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    keep_memory()
    options.work.mkdir(parents=True, exist_ok=True)
    for size_px in SIZES_PX:
        say("features", f"{size_px} px")
        fill(options.data, options.work, size_px)
    first = run_stage(replace(WORDS, seed=options.seed), options, "words", None)
    run_targets(options, MASKS.targets, first, FIRST)
    second = run_stage(replace(MASKS, seed=options.seed), options, "masks", first)
    third = run_stage(replace(CAMS, seed=options.seed), options, "cams", second)
    run_targets(options, AGAIN.targets, third, SECOND)
    fourth = run_stage(replace(AGAIN, seed=options.seed), options, "again", third)
    cover = replace(COVER, seed=options.seed + 1)  # the same data again: another order
    run_stage(cover, options, "cover", fourth)
    shutil.copy(options.work / "cover" / "pocket.safetensors", options.work / "pocket.safetensors")
    shutil.copy(weights_folder() / "pocket-vocab.txt", options.work / "pocket-vocab.txt")
    say("done", str(options.work / "pocket.safetensors"))


if __name__ == "__main__":
    main()
