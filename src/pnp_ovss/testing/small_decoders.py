"""Small random vision-language decoders of the true architectures, with tokenizers and chat templates made on the spot."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from pnp_ovss.testing.small_models import PATCH_PX, SIDE, randomise, wordpiece_file
from pnp_ovss.vlms.decoder_prompt import ChatFiles

WORDS = (
    "is", "there", "in", "this", "answer", "yes", "no", "or", "describe", "user", "assistant", "?", ".", ":", "\n",
)  # fmt: skip
TURN = "{% for m in messages %}{% for c in m['content'] %}"
PIECE = "{% if c['type'] == 'image' %}IMAGE{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endfor %}"
CHATML = f"<|im_start|>user\n{TURN}{PIECE}<|im_end|>\n<|im_start|>assistant\n"
TEMPLATES = {
    "llava": f"USER: {TURN}{PIECE.replace('IMAGE', '<image>' + chr(10))}{{% if add_generation_prompt %}} ASSISTANT:{{% endif %}}",
    "qwen2_5_vl": CHATML.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"),
    "qwen3_vl": CHATML.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"),
    "paligemma": "",
    "paligemma2": "",
    "smolvlm": f"<|im_start|>User:{TURN}{PIECE.replace('IMAGE', '<image>')}<end_of_utterance>\nAssistant:",
    "idefics3": f"<|im_start|>User:{TURN}{PIECE.replace('IMAGE', '<image>')}<end_of_utterance>\nAssistant:",
    "internvl": CHATML.replace("IMAGE", "<IMG_CONTEXT>\n"),
}
"""As the published ones are built, for one turn of a user with one image."""
IMAGE_TOKENS = {"qwen2_5_vl": "<|image_pad|>", "qwen3_vl": "<|image_pad|>", "internvl": "<IMG_CONTEXT>"}
SPECIAL = (
    "<s>", "</s>", "<image>", "<|image_pad|>", "<|video_pad|>", "<IMG_CONTEXT>", "<|vision_start|>", "<|vision_end|>",
    "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>",
)  # fmt: skip
TEXT = {
    "hidden_size": 48, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 3,
    "head_dim": 12, "max_position_embeddings": 1200, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None,
}  # fmt: skip
VISION = {
    "hidden_size": 36, "intermediate_size": 72, "num_attention_heads": 3, "num_hidden_layers": 2, "patch_size": PATCH_PX,
    "image_size": SIDE * PATCH_PX,
}  # fmt: skip
ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 2, 2]}


@cache
def small_tokenizer() -> Any:
    """A WordPiece tokenizer that knows the small vocabulary, the words of a question and all special tokens."""
    from tokenizers import AddedToken
    from tokenizers.implementations import BertWordPieceTokenizer
    from tokenizers.processors import TemplateProcessing

    file = wordpiece_file(Path(tempfile.mkdtemp()))
    lines = file.read_text("utf-8").splitlines()
    file.write_text("\n".join(dict.fromkeys([*lines, *(w for w in WORDS if w != "\n")])) + "\n", "utf-8")
    tokenizer = BertWordPieceTokenizer(vocab=str(file), lowercase=True)._tokenizer
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer.add_tokens([AddedToken("\n", normalized=False)])
    first = tokenizer.token_to_id("<s>")
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", first)])
    return tokenizer


def chat_files(kind: str) -> ChatFiles:
    """The texts of a family: the tokenizer, a template like its own, the first token."""
    first = "<|im_start|>" if "<|im_start|>" in TEMPLATES[kind] else "<s>"
    return ChatFiles(small_tokenizer(), TEMPLATES[kind], first)


def small_decoder(kind: str, *, tied: bool = False) -> Any:
    """A `...ForConditionalGeneration` of the family `kind`: three layers of four query heads over two key heads.

    tied: whether words come in and go out by one table, as in PaliGemma and the smaller Qwen-VL.
    """
    from transformers import AutoModelForImageTextToText

    tokenizer = small_tokenizer()
    config = _config(kind, {**TEXT, "tie_word_embeddings": tied}, tokenizer)
    return randomise(AutoModelForImageTextToText.from_config(config))


def _config(kind: str, text: dict[str, Any], tokenizer: Any) -> Any:
    from transformers import CONFIG_MAPPING

    text = {**text, "vocab_size": tokenizer.get_vocab_size()}
    image = {
        "image_token_id": tokenizer.token_to_id(IMAGE_TOKENS.get(kind, "<image>")),
        "tie_word_embeddings": text["tie_word_embeddings"],
    }
    vision: dict[str, Any] = dict(VISION)
    more: dict[str, Any] = {}
    if kind == "llava":
        text, vision = {**text, "model_type": "llama"}, {**vision, "model_type": "clip_vision_model"}
        more = {"vision_feature_layer": -2}
    elif kind in ("paligemma", "paligemma2"):
        text, vision = {**text, "model_type": "gemma"}, {**vision, "model_type": "siglip_vision_model"}
        text |= {"model_type": "gemma2", "attn_logit_softcapping": 1.0} if kind == "paligemma2" else {}
        more = {"projection_dim": text["hidden_size"], "hidden_size": text["hidden_size"]}
        vision["projection_dim"] = text["hidden_size"]
    elif kind in ("smolvlm", "idefics3"):
        text, more = {**text, "model_type": "llama"}, {"scale_factor": 2}
    elif kind == "internvl":
        text = {**text, "model_type": "qwen2"}
        vision |= {"patch_size": [PATCH_PX] * 2, "image_size": [SIDE * PATCH_PX] * 2}
    else:
        text, vision = {**text, "rope_parameters": ROPE}, _qwen_vision(kind, text["hidden_size"])
        more = {"video_token_id": tokenizer.token_to_id("<|video_pad|>")}
        more |= {f"vision_{end}_token_id": tokenizer.token_to_id(f"<|vision_{end}|>") for end in ("start", "end")}
    made: Any = CONFIG_MAPPING["paligemma" if kind == "paligemma2" else kind]
    return made(text_config=text, vision_config=vision, **image, **more)


def _qwen_vision(kind: str, width: int) -> dict[str, Any]:
    """Two blocks of a width and rotary parts that fit its heads, 2 x 2 patches merged."""
    sizes = {"hidden_size": 36, "intermediate_size": 72, "num_heads": 3, "depth": 2, "patch_size": PATCH_PX}
    sizes |= {"out_hidden_size": width, "spatial_merge_size": 2, "temporal_patch_size": 2}
    if kind == "qwen3_vl":
        return {**sizes, "deepstack_visual_indexes": [0, 1], "num_position_embeddings": SIDE * SIDE}
    return {**sizes, "window_size": 4 * PATCH_PX, "fullatt_block_indexes": [1]}


def save_decoder(kind: str, folder: Path, *, tied: bool = False) -> Path:
    """The folder of a small decoder as the hub has one: weights, configuration, tokenizer, template, normalisation."""
    files = chat_files(kind)
    small_decoder(kind, tied=tied).save_pretrained(folder)
    files.tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": files.first}), "utf-8")
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}), "utf-8"
    )
    if files.template:
        (folder / "chat_template.jinja").write_text(files.template, "utf-8")
    return folder
