"""Memory and CPU time of every adapter at its true size, with random weights: python benchmarks/models.py [NAME ...]

Each model and precision runs in a process of its own. CPU seconds are the process's (all threads), so that other work
on the machine hardly changes them; memory is the peak resident set. --all-layers adds what `tune` does: maps of all layers
and heads in one pass, with its prompt's tokens, the image's, and the memory it takes beside the model's (Linux). Numbers
say nothing about quality.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from decoder_sizes import DECODERS
from machine import forget_peak, measured, resident_mb

NAMES = ("cat", "dog", "sofa", "tree", "grass", "person", "bus", "car", "boat", "bottle")
TEXT = {"num_attention_heads": 12, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}


def blip(size: str) -> Any:
    """BLIP's retrieval model, base or large."""
    import sizes

    from pnp_ovss.vlms.blip import BlipVLM

    return sizes.build_blip({"base": sizes.BLIP_BASE, "large": sizes.BLIP_LARGE}[size]), BlipVLM


def albef() -> Any:
    """ALBEF: ViT-B and six layers with cross-attention."""
    from transformers import BlipConfig, BlipForImageTextRetrieval

    from pnp_ovss.vlms.albef import AlbefVLM

    text = {**TEXT, "is_decoder": True, "encoder_hidden_size": 768, "vocab_size": 30522, "bos_token_id": 101}
    return BlipForImageTextRetrieval(BlipConfig(text_config=text, vision_config={"image_size": 384})), AlbefVLM


def mplug() -> Any:
    """mPLUG large."""
    from pnp_ovss.vlms.mplug import MplugModel, MplugVLM

    vision = {"hidden_size": 1024, "num_hidden_layers": 24, "patch_size": 14, "image_size": 336}
    text = {**TEXT, "encoder_hidden_size": 768, "vocab_size": 30522}
    return MplugModel({"vision": vision, "text": text, "first_cross_layer": 7}), MplugVLM


def bridgetower() -> Any:
    """BridgeTower large."""
    from transformers import BridgeTowerConfig, BridgeTowerForImageAndTextRetrieval

    from pnp_ovss.vlms.bridgetower import BridgeTowerVLM

    text = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
    vision = {"hidden_size": 1024, "num_hidden_layers": 24, "patch_size": 14, "image_size": 294}
    config = BridgeTowerConfig(
        hidden_size=1024, num_attention_heads=16, num_hidden_layers=6, text_config=text, vision_config=vision
    )
    return BridgeTowerForImageAndTextRetrieval(config), BridgeTowerVLM


def blip2() -> Any:
    """BLIP-2's Q-Former over ViT-g."""
    from transformers import Blip2Config, Blip2ForImageTextRetrieval

    from pnp_ovss.vlms.blip2 import Blip2VLM

    return Blip2ForImageTextRetrieval(Blip2Config(qformer_config={"use_qformer_text_input": True})), Blip2VLM


def vilt() -> Any:
    """ViLT B/32."""
    from transformers import ViltConfig, ViltForImageAndTextRetrieval

    from pnp_ovss.vlms.vilt import ViltVLM

    return ViltForImageAndTextRetrieval(ViltConfig()), ViltVLM


def decoder(name: str) -> Any:
    """A decoder of its preset's size. Its tokenizer is the tests', whose token ids are rows of its word table."""
    from transformers import CONFIG_MAPPING, AutoModelForImageTextToText

    from pnp_ovss.testing.small_decoders import IMAGE_TOKENS, chat_files, small_tokenizer
    from pnp_ovss.vlms.decoder import DecoderVLM

    kind = DECODERS[name]["model_type"]
    image = small_tokenizer().token_to_id(IMAGE_TOKENS.get(kind, "<image>"))
    config = CONFIG_MAPPING[kind](**{**DECODERS[name], "image_token_id": image})
    model = AutoModelForImageTextToText.from_config(config)
    model.tie_weights()  # left out with the initialisation
    return model, lambda model, _, precision: DecoderVLM(model, chat_files(kind), precision=precision)


MODELS: dict[str, tuple[Any, int, int]] = {
    "blip-base": (partial(blip, "base"), 336, 8),
    "blip-large": (partial(blip, "large"), 336, 8),
    "albef": (albef, 336, 9),
    "mplug-large": (mplug, 336, 9),
    "bridgetower-large": (bridgetower, 322, 2),
    "blip2-itm-vit-g": (blip2, 336, 7),
    "vilt": (vilt, 352, 8),
    "smolvlm-256m": (partial(decoder, "smolvlm-256m"), 512, 15),
    "internvl3-1b": (partial(decoder, "internvl3-1b"), 448, 12),
    "paligemma-3b-mix-224": (partial(decoder, "paligemma-3b-mix-224"), 224, 9),
    "qwen3-vl-4b": (partial(decoder, "qwen3-vl-4b"), 448, 18),
    "qwen2.5-vl-3b": (partial(decoder, "qwen2.5-vl-3b"), 448, 18),
    "qwen2.5-vl-7b": (partial(decoder, "qwen2.5-vl-7b"), 448, 14),
    "llava-1.5-7b": (partial(decoder, "llava-1.5-7b"), 336, 16),
}
"""{name: (what makes the model and its adapter, side of the input, layer)}"""


LARGE = ("qwen3-vl-4b", "qwen2.5-vl-3b", "qwen2.5-vl-7b", "llava-1.5-7b")
"""Over 7 GB in bfloat16: only by name."""


def measure(name: str, precision: str, *, all_layers: bool = False) -> dict[str, Any]:
    """CPU seconds of encode, match (ten names) and attend (one prompt of ten names), and the peak memory."""
    import torch
    from transformers.initialization import no_init_weights

    from pnp_ovss.model_check import peak_memory_mb
    from pnp_ovss.prompt import build_prompt
    from pnp_ovss.testing.small_models import bpe_files, wordpiece_file
    from pnp_ovss.vlms.encoders.bpe import BpeTokenizer
    from pnp_ovss.vlms.encoders.wordpiece import WordPieceTokenizer

    torch.set_num_threads(1)
    torch.manual_seed(0)
    build, size_px, layer = MODELS[name]
    dtype = torch.bfloat16 if precision == "bfloat16" and name in DECODERS else torch.float32
    torch.set_default_dtype(dtype)  # of decoders alone: they are loaded in their precision, too
    with no_init_weights():
        model, adapter = build()
    torch.set_default_dtype(torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.02)
    model.eval().requires_grad_(False)
    folder = Path(tempfile.mkdtemp())
    tokenizer = (
        BpeTokenizer.from_folder(bpe_files(folder))
        if name.startswith("bridge")
        else WordPieceTokenizer.from_vocabulary(wordpiece_file(folder))
    )
    vlm = adapter(model, tokenizer, precision=precision)
    prompt = build_prompt(NAMES, "A picture of {classes}", vlm.tokenize)
    each = [build_prompt([n], "A picture of {classes}", vlm.tokenize) for n in NAMES]
    pixels = torch.randn(3, size_px, size_px)
    clock = [time.process_time()]
    image = vlm.encode(pixels)
    clock.append(time.process_time())
    vlm.match(image, each)
    clock.append(time.process_time())
    vlm.attend(image, prompt, layers=(layer,), head="mean", gradient="match_logit")
    clock.append(time.process_time())
    seconds = [round(b - a, 2) for a, b in pairwise(clock)]
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    found = {
        "name": name, "precision": precision, "size_px": size_px, "parameters_m": round(parameters, 1),
        "encode_cpu_s": seconds[0], "match_10_cpu_s": seconds[1], "attend_cpu_s": seconds[2],
        "peak_mb": peak_memory_mb(),
    }  # fmt: skip
    return found | (look_at_all(vlm, image, prompt) if all_layers else {})


def look_at_all(vlm: Any, image: Any, prompt: Any) -> dict[str, Any]:
    """The pass of `tune`: attention and gradient of every layer and head; MB that it keeps, and needs at its peak."""
    ctypes.CDLL(None).malloc_trim(0)
    forget_peak()
    before, start = resident_mb(), time.process_time()
    found = vlm.attend(image, prompt, layers=vlm.layers, head="mean", gradient="match_logit")
    tensors = [tensor for layer in found for tensor in (layer.probs, layer.grad)]
    return {
        "layers_heads": f"{len(vlm.layers)} x {vlm.heads}", "tokens": len(prompt.token_ids),
        "image_tokens": image.grid[0] * image.grid[1], "all_cpu_s": round(time.process_time() - start, 2),
        "kept_mb": round(sum(t.numel() * t.element_size() for t in tensors) / 2**20),
        "more_mb": round(resident_mb("VmHWM") - before),
    }  # fmt: skip


def main() -> None:
    """Measure the named models (default: all), each precision in a process of its own, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names",
        nargs="*",
        default=[name for name in MODELS if name not in LARGE],
        metavar="NAME",
        help=", ".join(MODELS),
    )
    parser.add_argument("--precision", nargs="*", default=["float32", "bfloat16"])
    parser.add_argument("--all-layers", action="store_true", help="also maps of all layers and heads in one pass")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.names[0], options.precision[0], all_layers=options.all_layers)))
        return
    about = measured()
    print(f"{about['date']}, {about['machine']}\n")
    columns = ["model", "precision", "px", "M parameters", "encode", "match 10", "attend", "peak MB"]
    more = ["layers x heads", "words", "image tokens", "all layers", "kept MB", "more MB"] if options.all_layers else []
    print(f"| {' | '.join(columns + more)} |")
    print("|---" * len(columns + more) + "|")
    for name in options.names:
        for precision in options.precision:
            command = [sys.executable, __file__, name, "--one", "--precision", precision]
            command += ["--all-layers"] if options.all_layers else []
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"| {name} | {precision} | failed: {done.stderr.strip().splitlines()[-1:]} |", flush=True)
                continue
            print(
                "| " + " | ".join(str(v) for v in json.loads(done.stdout.splitlines()[-1]).values()) + " |", flush=True
            )


if __name__ == "__main__":
    main()
