"""What the tests of downloads share: small models, one preset, what is taken from a listing."""

import torch

from pnp_ovss.presets import ModelPreset
from pnp_ovss.testing import small_models

MODELS = {
    "blip": small_models.small_blip,
    "bridgetower": small_models.small_bridgetower,
    "blip-2": small_models.small_blip2,
    "vilt": small_models.small_vilt,
}
VILT = ModelPreset(name="v", family="vilt", hub_id="someone/vilt")


def without(files, *names):
    return {name: content for name, content in files.items() if name not in names}


def offline(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def pickled(state):
    import io

    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()
