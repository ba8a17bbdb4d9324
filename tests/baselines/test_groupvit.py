import pytest
import torch
import torch.nn.functional as F

from pnp_ovss.baselines.groupvit import GroupViT
from pnp_ovss.errors import ModelError
from pnp_ovss.evaluation.systems import Query
from tests.near import same_labels


@pytest.fixture(scope="module")
def groupvit_folder(clip_folder, tmp_path_factory):
    import shutil

    from transformers import CLIPTokenizer, GroupViTConfig, GroupViTModel

    folder = tmp_path_factory.mktemp("groupvit")
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(clip_folder)
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 24,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "depths": [1, 1, 1],
        "num_hidden_layers": 3,
        "num_group_tokens": [8, 4, 0],
        "num_output_groups": [8, 4, 0],
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 4,
    }
    config = GroupViTConfig(text_config=text, vision_config=vision, projection_dim=16, projection_intermediate_dim=24)
    GroupViTModel(config).save_pretrained(folder)
    shutil.copy(clip_folder / "tokenizer.json", folder)
    return folder


@pytest.fixture(scope="module")
def groupvit(groupvit_folder):
    return GroupViT.from_spec(groupvit_folder, background=True, device="cpu")


def test_probabilities_against_the_groups_one_by_one(groupvit, noise):
    """Oracle: each pixel's mix of its groups' likeness to each text, written with loops over groups and names."""
    from transformers.models.groupvit.modeling_groupvit import get_grouping_from_attentions

    from pnp_ovss.images import normalise_pixels, to_pixels
    from pnp_ovss.vlms.base import CLIP_MEAN, CLIP_STD

    names = ["cat", "dining table", "potted plant"]
    model = groupvit.model
    pixels = normalise_pixels(to_pixels(noise, (32, 32)), CLIP_MEAN, CLIP_STD)[None]
    with torch.no_grad():
        vision = model.vision_model(pixel_values=pixels, output_attentions=True)
        grouping = get_grouping_from_attentions(vision.attentions, (32, 32))[0]
        groups = F.normalize(model.visual_projection(vision.last_hidden_state[0]), dim=1)
        logits = torch.zeros(len(names), 32, 32)
        for k, name in enumerate(names):
            ids = torch.tensor([groupvit.tokenizer(f"a photo of a {name}.").input_ids])  # alone: no padding
            text = F.normalize(model.text_projection(model.text_model(input_ids=ids).pooler_output), dim=1)[0]
            for g in range(len(groups)):
                logits[k] += grouping[g] * float(groups[g] @ text) * float(model.logit_scale.exp())
    found = groupvit.probabilities(noise, names)
    torch.testing.assert_close(found, logits.softmax(dim=0), rtol=1e-3, atol=1e-4)


def test_labels_have_the_images_size_and_background_where_nothing_is_sure(groupvit, groupvit_folder, noise):
    query = Query("a", noise, (("cat",), ("dog",)), ())
    labels = groupvit.answer(query)[""].labels
    assert labels.shape == (40, 60)
    sure = GroupViT.from_spec(groupvit_folder, background=False, device="cpu").answer(query)[""].labels
    assert sure.min() >= 1
    assert ((labels == 0) | (labels == sure)).all()
    assert groupvit.settings()["size"] == 32


def test_another_architecture_is_refused(clip_folder):
    with pytest.raises(ModelError, match="model_type is 'clip', not 'groupvit'"):
        GroupViT.from_spec(clip_folder, background=True, device="cpu")


def test_the_same_answer_twice(groupvit, noise):
    query = Query("a", noise, (("cat",), ("dog",)), ())
    same_labels(groupvit.answer(query)[""].labels, groupvit.answer(query)[""].labels)


def test_renamed_weights_are_refused(groupvit_folder, tmp_path):
    """transformers would fill them with random numbers, and an evaluation would print their mIoU."""
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(groupvit_folder, tmp_path, dirs_exist_ok=True)
    weights = {n.replace("vision_model", "other"): w for n, w in load_file(tmp_path / "model.safetensors").items()}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ModelError, match=r"weights are missing \(vision_model"):
        GroupViT.from_spec(tmp_path, background=True)
