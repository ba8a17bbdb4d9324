"""SAM 2 as its hub repositories come, an image and a film model, random and small: the photo is squashed, points follow."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pnp_ovss.refiners.promptable import DEVIATION, MEAN
from pnp_ovss.refiners.promptable_weights import load_promptable
from tests.near import near

HIERA = {
    "model_type": "sam2_hiera_det_model", "hidden_size": 8, "image_size": [64, 64], "blocks_per_stage": [1, 1, 2, 1],
    "embed_dim_per_stage": [8, 16, 32, 64], "num_attention_heads_per_stage": [1, 1, 2, 2], "window_size_per_stage": [4, 4, 4, 2],
    "global_attention_blocks": [3], "window_positional_embedding_background_size": [2, 2],
}  # fmt: skip
VISION = {
    "model_type": "sam2_vision_model", "backbone_config": HIERA, "backbone_channel_list": [64, 32, 16, 8],
    "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]], "fpn_hidden_size": 16,
}  # fmt: skip
PARTS = {
    "vision_config": VISION, "prompt_encoder_config": {"hidden_size": 16, "image_size": 64},
    "mask_decoder_config": {"hidden_size": 16, "mlp_dim": 16, "num_attention_heads": 2, "iou_head_hidden_dim": 16},
}  # fmt: skip
MEMORY = {
    "image_size": 64, "memory_attention_hidden_size": 16, "memory_attention_num_layers": 1,
    "memory_attention_num_attention_heads": 1, "memory_attention_feed_forward_hidden_size": 16,
    "memory_encoder_hidden_size": 16, "memory_encoder_output_channels": 8, "mask_downsampler_embed_dim": 16,
    "memory_fuser_embed_dim": 16, "memory_fuser_intermediate_dim": 16,
}  # fmt: skip


@pytest.fixture(scope="module", params=["image", "film"])
def folder(request, tmp_path_factory):
    """Two kinds of folder; facebook/sam2.1-hiera-tiny is of the second."""
    from transformers import Sam2Config, Sam2Model, Sam2VideoConfig, Sam2VideoModel

    torch.manual_seed(0)
    image = request.param == "image"
    model = Sam2Model(Sam2Config(**PARTS)) if image else Sam2VideoModel(Sam2VideoConfig(**PARTS, **MEMORY))
    with torch.no_grad():
        for parameter in model.parameters():  # as initialised its masks are all but 0
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    place = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(place)
    return place


def test_a_photo_is_squashed_and_points_with_it(folder, caplog):
    from transformers import Sam2Model

    rows, columns = np.mgrid[:32, :128]
    photo = np.stack([2 * columns, 8 * rows, 255 - columns], axis=2).astype(
        np.uint8
    )  # smooth: any resizing gives the same
    found = load_promptable(str(folder))
    assert not caplog.records  # transformers would warn of one kind that is read as the other
    logits, predicted = found.propose(found.encode(photo), (32, 128), [(20, 8), (100, 24)])

    pixels = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255
    pixels = F.interpolate(pixels, (64, 64), mode="bilinear", antialias=True)
    pixels = (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(DEVIATION)[:, None, None]
    model = Sam2Model.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = model(pixel_values=pixels, input_points=torch.tensor([[[[10.0, 16.0]], [[50.0, 48.0]]]]))
    assert (logits.shape, predicted.shape) == ((2, 3, 16, 16), (2, 3))
    assert logits.std() > 0.1
    near(predicted, expected.iou_scores[0], atol=0.02)
    assert (logits - expected.pred_masks[0]).abs().mean() < 0.05 * logits.std()
