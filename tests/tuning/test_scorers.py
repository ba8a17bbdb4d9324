"""Scorers: CLIP on a small random model with a tokenizer trained here, and the match head of any VLM."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from pnp_ovss.errors import ClassNameError, ConfigError, ModelError
from pnp_ovss.testing.fake_vlm import COLOURS, FakeVLM
from pnp_ovss.tuning.scorers import ClipScorer, MatchScorer, Scorer, make_scorer
from pnp_ovss.vlms.base import CLIP_MEAN, CLIP_STD

START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = ["cat", "dog", "dining table", "potted plant", "sofa"]


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    """A random CLIP of transformers' layout, a few hundred kB, with a byte-level BPE tokenizer trained on names."""
    from transformers import CLIPConfig, CLIPModel

    folder = tmp_path_factory.mktemp("clip")
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token=END))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[START, END],
        end_of_word_suffix="</w>",
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(WORDS * 20, trainer)
    size = tokenizer.get_vocab_size()
    tokenizer.post_processor = processors.RobertaProcessing(
        (END, tokenizer.token_to_id(END)), (START, tokenizer.token_to_id(START)), False, False
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    common = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = common | {"vocab_size": size, "max_position_embeddings": 16, "bos_token_id": 0, "eos_token_id": 1}
    vision = common | {"image_size": 32, "patch_size": 8}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clip(clip_folder):
    return ClipScorer.from_pretrained(clip_folder, device="cpu")


def photo(seed, size=(40, 60)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def test_clip_scores_are_the_cosine_over_a_hundredth(clip):
    images, names = [photo(0), photo(1, (31, 17))], ["cat", "dining table"]

    found = clip.score(images, names)

    from PIL import Image

    with torch.no_grad():
        for i, image in enumerate(images):
            squashed = np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BICUBIC)) / 255
            pixels = (squashed - np.array(CLIP_MEAN)) / np.array(CLIP_STD)
            vector = clip.clip.model.get_image_features(
                torch.tensor(pixels).permute(2, 0, 1)[None].float()
            ).pooler_output[0]
            for k, name in enumerate(names):
                ids = torch.tensor([clip.clip.tokenizer(name).input_ids])
                text = clip.clip.model.get_text_features(ids).pooler_output[0]
                cosine = torch.dot(vector, text) / vector.norm() / text.norm()
                assert found[i, k] == pytest.approx(float(cosine) / 0.01, abs=1e-3)


def test_clip_text_has_start_and_end_and_names_differ(clip):
    ids = clip.clip.token_ids("cat")[0].tolist()

    assert (ids[0], ids[-1]) == (0, 1)
    assert ids != clip.clip.token_ids("sofa")[0].tolist()


def test_clip_black_is_the_score_of_a_black_photo(clip):
    black = clip.score([np.zeros((50, 70, 3), np.uint8)], WORDS)[0]

    torch.testing.assert_close(clip.score_black(WORDS), black, atol=1e-3, rtol=0)


def test_clip_encodes_each_name_and_the_black_image_once(clip_folder, monkeypatch):
    scorer = ClipScorer.from_pretrained(clip_folder, device="cpu")
    calls = {"text": 0, "image": 0}
    for kind, tower in (("text", scorer.clip.model.text_model), ("image", scorer.clip.model.vision_model)):
        tower.register_forward_hook(lambda *_, kind=kind: calls.update({kind: calls[kind] + 1}))

    for _ in range(3):
        scorer.score_black(["cat", "dog"])
    scorer.score([photo(0)], ["dog", "cat"])

    assert calls == {"text": 2, "image": 2}


def test_clip_batches_do_not_change_scores(clip):
    images = [photo(seed) for seed in range(18)]

    alone = torch.cat([clip.score([image], WORDS) for image in images])

    torch.testing.assert_close(clip.score(images, WORDS), alone, atol=1e-3, rtol=0)


def test_clip_folder_without_tokenizer_says_what_is_missing(clip_folder, tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).symlink_to(clip_folder / name)

    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        ClipScorer.from_pretrained(tmp_path)


def test_clip_without_weights_says_where_it_looked(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    with pytest.raises(ModelError, match="hf download openai/clip-vit-large-patch14-336"):
        ClipScorer.from_pretrained()


def test_match_scorer_is_the_match_logit_of_each_name():
    image = np.zeros((32, 32, 3), np.uint8)
    image[:, :16] = np.array(COLOURS["red"]) * 255

    scorer = MatchScorer(FakeVLM(), size_px=32)

    assert scorer.score([image, image * 0], ["red", "green"]).tolist() == [[4.0, -4.0], [-4.0, -4.0]]
    assert scorer.score_black(["red", "green"]).tolist() == [-4.0, -4.0]


def test_match_scorer_encodes_black_once():
    vlm = FakeVLM()
    scorer = MatchScorer(vlm, size_px=32)

    scorer.score_black(["red"])
    scorer.score_black(["green"])

    assert vlm.encoded == 1


def test_scorers_answer_nothing_for_no_images(clip):
    assert clip.score([], ["cat", "dog"]).shape == (0, 2)
    assert MatchScorer(FakeVLM(), size_px=32).score([], ["red"]).shape == (0, 1)


def test_scorers_keep_the_protocol(clip):
    assert isinstance(clip, Scorer)
    assert isinstance(MatchScorer(FakeVLM(), size_px=32), Scorer)


def test_make_scorer_by_name(clip_folder):
    vlm = FakeVLM()

    assert make_scorer("self", vlm, size_px=32).name == "match:fake at 32 px"
    assert make_scorer(f"clip:{clip_folder}", vlm, device="cpu").name == f"clip:{clip_folder.name}"
    with pytest.raises(ConfigError, match="unknown scorer 'blip'; choose from self"):
        make_scorer("blip", vlm)


def test_a_name_too_long_for_the_model_is_refused_in_one_line():
    vlm = FakeVLM()
    scorer = make_scorer("self", vlm, size_px=32)

    with pytest.raises(ClassNameError, match="tokens"):
        scorer.score_black(["word " * (vlm.max_tokens + 1)])
