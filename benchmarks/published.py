"""The way it was published, written plainly: the baseline of benchmarks/speed.py.

float32, eager attention, a graph through the whole model with parameter gradients, the maps and gradients of all layers
and heads kept, one full pass per drop, every class enlarged and blurred at full size, the reference CRF.
"""

import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter

import pnp_ovss
from pnp_ovss.config import SegmenterConfig
from pnp_ovss.datasets.vocabulary import get_vocabulary
from pnp_ovss.images import normalise_pixels, punch_holes, to_pixels
from pnp_ovss.postprocess import accumulate, argmax_labels
from pnp_ovss.prompt import build_prompts
from pnp_ovss.refiners import get_refiner
from pnp_ovss.saliency import class_maps, drop_most_salient, minmax
from pnp_ovss.vlms.base import CLIP_MEAN, CLIP_STD
from pnp_ovss.vlms.blip import ENC_TOKEN, BlipVLM
from pnp_ovss.vlms.encoders.wordpiece import WordPieceTokenizer


def class_names(count: int) -> list[str]:
    """The first names of COCO Stuff-171."""
    return list(get_vocabulary("coco_stuff171").names[:count])


def wrap(model, precision: str = "float32") -> BlipVLM:
    """Our adapter around it; the pocket model's vocabulary stands in for BERT's (ids below 30524 all the same)."""
    path = Path(pnp_ovss.__file__).parent / "weights" / "pocket-vocab.txt"
    text = path.read_text("utf-8").replace("[ENC]", "[CLS]")
    pieces = {piece: i for i, piece in enumerate(text.splitlines())}
    from tokenizers.implementations import BertWordPieceTokenizer

    tokenizer = WordPieceTokenizer(
        BertWordPieceTokenizer(vocab=pieces, lowercase=True)._tokenizer, first_token=ENC_TOKEN
    )
    return BlipVLM(model, tokenizer, precision=precision)


def tokens(vlm: BlipVLM, names: list[str]) -> int:
    """Tokens of the prompt with all names."""
    return sum(len(p.token_ids) for p in build_prompts(names, "A picture of {classes}", vlm.tokenize, vlm.max_tokens))


def segment(
    model, config: SegmenterConfig, image: np.ndarray, names: list[str], passes: int
) -> tuple[np.ndarray, float]:
    """Labels (H, W) and seconds in the refiner. Fewer `passes` than R + 1 are repeated in the sum and in the clock."""
    vlm = wrap(model)
    prompt = build_prompts(names, config.template, vlm.tokenize, vlm.max_tokens)[0]
    pixels = to_pixels(image, (config.size_px, config.size_px))
    grid = (config.size_px // 16, config.size_px // 16)
    visible, maps = torch.ones(grid[0] * grid[1], dtype=torch.bool), []
    start = time.perf_counter()
    for _ in range(passes):
        found = gradcam(
            model, normalise_pixels(punch_holes(pixels, visible, grid, (0, 0, 0)), CLIP_MEAN, CLIP_STD), prompt
        )
        picked = found[config.layer - 1][config.head - 1] * visible
        maps.append(class_maps(picked, prompt.spans).unflatten(1, grid))
        visible = drop_most_salient(maps[-1].flatten(1).sum(0), visible)
    missing = config.drops + 1 - passes
    time.sleep(missing * (time.perf_counter() - start) / passes)
    maps += maps[-1:] * missing
    return labels(accumulate(torch.stack(maps), config), config, image)


def gradcam(model, pixels: torch.Tensor, prompt) -> list[torch.Tensor]:
    """A ⊗ max(0, G) of every layer: 12 tensors (heads, T, N)."""
    probs = []

    def keep(_module, _inputs, output):
        output[1].retain_grad()
        probs.append(output[1])

    hooks = [b.crossattention.self.register_forward_hook(keep) for b in model.text_encoder.encoder.layer]
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    device = next(model.parameters()).device
    ids = torch.tensor([prompt.token_ids], device=device)
    logits = model(
        ids, pixels[None].to(device), attention_mask=torch.ones_like(ids), interpolate_pos_encoding=True
    ).itm_score
    model.zero_grad()
    logits[:, 1].sum().backward()
    for hook in hooks:
        hook.remove()
    found = [(p.detach() * p.grad.clamp(min=0))[0, :, :, 1:].cpu() for p in probs]
    model.zero_grad()
    model.requires_grad_(False)
    return found


def labels(total: torch.Tensor, config: SegmenterConfig, image: np.ndarray) -> tuple[np.ndarray, float]:
    """Threshold, every class enlarged and blurred, background, reference CRF on the live channels, argmax."""
    size = image.shape[:2]
    masks = (total > config.threshold).float()
    large = F.interpolate(masks[None], size=size, mode="bilinear", align_corners=False)[0].numpy()
    blurred = np.stack([gaussian_filter(mask, config.blur * max(size)) for mask in large])
    scores = minmax(torch.from_numpy(blurred), config.normalise, keep_constant=True)
    live = [k for k in range(len(masks)) if masks[k].any()]
    scores = torch.cat([(1 - scores.sum(0)).clamp(min=0)[None], scores[live]])
    start = time.perf_counter()
    refined = reference_refiner().refine(image, scores)
    return argmax_labels(refined, (0, *(k + 1 for k in live)), size), time.perf_counter() - start


def reference_refiner():
    """pydensecrf2 where it is installed, else our own Dense CRF (the report says which)."""
    try:
        import pydensecrf  # noqa: F401
    except ImportError:
        return get_refiner("densecrf")
    return get_refiner("densecrf-reference")
