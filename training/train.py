"""Trains the pocket model from an empty work folder to a weights file; a killed run goes on where it was.

python training/train.py --data ../shared/data/pairs --more ../shared/data/more --work DIR [--seed S]

Does what is not done yet, resuming from checkpoints: feature caches, alignment with ImageNet, stage "words" (captions and tags
only, frozen trunk), the self-training targets of its maps, stage "masks" (last trunk blocks learn), stage "cams" (GradCAM itself is
fitted to the targets). Then twice: the whole pipeline's labels of the training photos become targets, a student's completed GradCAM
is fitted to them, and the mean of its weights and its teacher's is the next teacher. DIR/pocket.safetensors is the last mean.
"""

import argparse
import copy
import functools
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from batches import Batches
from cache import fill, read_records
from checkpoints import average, take_over, write_weights
from losses import Auxiliary, losses, told_by
from memory import keep_memory
from pseudo import write_targets
from recipes import CAMS, MASKS, STUDENT, WORDS, Recipe
from samples import Knowledge
from start import MIRRORED, PLAIN, THAWED, blank_model, imagenet_probs, new_model
from targets import write_targets as write_labels
from torch import nn

from pnp_ovss.vlms.encoders.pocket_model import PocketModel, save_pocket


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
        self.teacher = copy.deepcopy(model).requires_grad_(False) if recipe.told else None
        self.groups = parameter_groups(model, self.auxiliary, recipe)
        self.optimizer = torch.optim.AdamW(self.groups, betas=(0.9, 0.98))
        self.bases = [group["lr"] for group in self.groups]
        self.step = 0

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
            if state["recipe"] != asdict(self.recipe):
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
            parameter.requires_grad_(self.step >= self.recipe.thaw_from * self.recipe.steps)
        view = self.recipe.views[self.step % len(self.recipe.views)]
        batch = self.batches.draw(round(self.recipe.batch * (PLAIN.size_px / view.size_px) ** 2), view)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            seen = (batch.middle if v is view else self.batches.features(batch.rows, v) for v in self.recipe.views)
            told = None if self.teacher is None else told_by(self.teacher, batch, tuple(seen))
            parts = losses(
                self.model,
                self.auxiliary,
                batch,
                scale=self.recipe.scale,
                cams=self.recipe.cams,
                cover=self.recipe.cover,
                told=told,
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


@dataclass(frozen=True)
class Place:
    """Where the photos are and where everything made of them goes."""

    data: Path
    more: Path | None
    work: Path

    @functools.cached_property
    def knowledge(self) -> Knowledge:
        """What is known of the photos."""
        return Knowledge(self.data, self.more, imagenet_probs(self.work))


def run_stage(recipe: Recipe, place: Place, name: str, start: Path | None) -> Path:
    """One training run, from `start`'s weights if given; the path of its last checkpoint."""
    say("stage", name)
    folder = place.work / name
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    model, tokenizer = new_model(place.data) if start is None else blank_model()
    if start:
        take_over(model, start, recipe.scale)
    batches = Batches(place.knowledge, tokenizer, place.work, recipe.seed)
    if recipe.targets:
        batches.read_pseudo(place.work / recipe.targets)
    run = Run(recipe, model, batches, folder)
    run.resume()
    run.finish()
    save_pocket(model, folder / "pocket.safetensors", {"recipe": json.dumps(asdict(recipe))})
    return folder / "checkpoint.pt"


def say(kind: str, name: str) -> None:
    """Tell the time at which a part of the run begins."""
    print(json.dumps({kind: name, "at": time.strftime("%H:%M:%S")}), flush=True)


def self_train(place: Place, teacher: Path, number: int, seed: int) -> Path:
    """Round `number` of self-training, from any checkpoint whose GradCAM was trained; the checkpoint of the mean."""
    folder, targets = place.work / f"student{number}", f"labels{number}.npz"
    weights = folder / "teacher" / "pocket.safetensors"
    write_weights(teacher, weights)
    say("targets", targets)
    write_labels(place.knowledge, weights, place.work / targets)
    student = run_stage(replace(STUDENT, targets=targets, seed=seed + number), place, folder.name, teacher)
    return average((teacher, student), folder / "mean.pt")


def main() -> None:
    """Parse the command line and do what is left to do."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--more", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--third", type=Path, help="skip the first three stages: a checkpoint or weights file to go on from"
    )
    parser.add_argument("--rounds", type=int, default=2, help="of self-training")
    options = parser.parse_args()
    keep_memory()
    options.work.mkdir(parents=True, exist_ok=True)
    place = Place(options.data, options.more, options.work)
    for view in (PLAIN, MIRRORED):
        say("features", view.name)
        fill(read_records(place.data, place.more), options.work, view)
    teacher = options.third or first_stages(place, options.seed)
    for number in range(1, options.rounds + 1):
        teacher = self_train(place, teacher, number, options.seed)
    write_weights(teacher, options.work / "pocket.safetensors")
    say("done", str(options.work / "pocket.safetensors"))


def first_stages(place: Place, seed: int) -> Path:
    """Stages "words", "masks" and "cams"; the last one's checkpoint."""
    first = run_stage(replace(WORDS, seed=seed), place, "words", None)
    say("targets", MASKS.targets)
    write_targets(place.knowledge, place.work, first, place.work / MASKS.targets)
    second = run_stage(replace(MASKS, seed=seed), place, "masks", first)
    return run_stage(replace(CAMS, seed=seed), place, "cams", second)


if __name__ == "__main__":
    main()
