"""The packed text forward of training/ gives the same logits as the model itself."""

import importlib.util
from pathlib import Path

import torch

from pnp_ovss.vlms.pocket_model import PocketConfig, PocketModel

TRAINING = Path(__file__).parents[2] / "training"


def _load(name: str):
    spec = importlib.util.spec_from_file_location(f"training_{name}", TRAINING / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_packed_texts_match_the_model_one_by_one():
    torch.manual_seed(0)
    model = PocketModel(PocketConfig(vocabulary=50, width=32, layers=2, heads=2, feed_forward=64)).eval()
    texts = [[1, 5, 6, 7, 2], [1, 9, 2]]
    packed = (
        torch.tensor([[*texts[0], *texts[1]]]),
        torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2]]),
        torch.tensor([[0, 0, 0, 0, 0, 1, 1, 1]]),
        torch.tensor([[0, 5]]),
    )
    with torch.no_grad():
        tokens = torch.randn(1, 16, 32)
        found = _load("forward").read_texts(model, tokens, packed).match[0]
        for k, ids in enumerate(texts):
            alone = model.match(tokens, torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.long))
            torch.testing.assert_close(found[k], alone[0], rtol=1e-4, atol=1e-5)
