"""GPU-hours a million photos, from the arithmetic of the method: no GPU is needed to run this, none was measured.

python benchmarks/cost.py [--tflops 312] [--utilisation 0.3] [--classes 20]

Counted: R + 1 passes with all kept classes in one prompt, and one matching of every class (policy `itm`). BLIP by the
formula of `sizes.flops`, the pocket model by counting the operations of a run with its real weights (its one prompt
of kept classes left out: the counter cannot follow its gradient). Not counted: reading and decoding, the Dense CRF
and writing, which are the CPU's (see docs/scaling.md). The defaults are an A100's dense bf16 peak (NVIDIA's data
sheet) and the share of it that this assumes to be reached.
"""

import argparse

import numpy as np
from sizes import BLIP_BASE, BLIP_LARGE, Sizes, flops

PROMPT_TOKENS = 30
"""Of "A picture of c1 ... c20" with the kept classes of a photo; the result hardly depends on it."""
CLASS_TOKENS = 7
"""Of "A picture of {class}" with its special tokens."""


def blip_flops(sizes: Sizes, size_px: int, classes: int) -> float:
    """Of one photo; matching shares the image's keys and values with the first pass."""
    patches = (size_px // sizes.patch_px) ** 2 + 1
    width, tokens = sizes.text_width, CLASS_TOKENS
    layer = 2 * tokens * 14 * width**2 + 4 * tokens * patches * width
    return flops(sizes, size_px, PROMPT_TOKENS) + classes * sizes.text_layers * layer


def pocket_flops(classes: int) -> tuple[float, int]:
    """Of one photo's encoding and matching, counted while they run; and the side of its input."""
    from torch.utils.flop_counter import FlopCounterMode

    from pnp_ovss import Segmenter

    segmenter = Segmenter.from_pretrained("pocket", refine="none", match_threshold=1.0)
    photo = np.random.default_rng(0).integers(0, 256, (320, 320, 3), dtype=np.uint8)
    with FlopCounterMode(display=False) as counter:
        segmenter(photo, [f"thing {i}" for i in range(classes)])
    return float(counter.get_total_flops()), segmenter.config.size_px


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tflops", type=float, default=312.0)
    parser.add_argument("--utilisation", type=float, default=0.3)
    parser.add_argument("--classes", type=int, default=20)
    options = parser.parse_args()
    rows = [
        (name, size, blip_flops(sizes, size, options.classes))
        for name, sizes in (("blip-large", BLIP_LARGE), ("blip-base", BLIP_BASE))
        for size in (336, 768)
    ]
    work, size = pocket_flops(options.classes)
    rate = options.tflops * 1e12 * options.utilisation
    print(f"{options.classes} classes, {options.tflops:g} TFLOP/s at {options.utilisation:.0%}")
    print("model        size px   TFLOP a photo   GPU-hours a million")
    for name, size_px, flop in [*rows, ("pocket", size, work)]:
        print(f"{name:12s} {size_px:7d} {flop / 1e12:15.3f} {flop * 1e6 / rate / 3600:21.2f}")


if __name__ == "__main__":
    main()
