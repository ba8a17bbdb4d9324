"""Without the extra `hub` the built-in model does everything, and what needs the extra says so in one sentence."""

import subprocess
import sys

import pytest

WITHOUT = """
import sys
for name in ("transformers", "huggingface_hub", "scipy", "tqdm", "filelock"):
    sys.modules[name] = None
"""


def run_without_hub(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", WITHOUT + code], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("code", "package"),
    [
        ("from pnp_ovss import Segmenter; Segmenter.from_pretrained('blip-large-flickr')", "huggingface_hub"),
        ("from pnp_ovss.clip import Clip; Clip.from_pretrained('owner/name')", "transformers"),
        (
            "from pathlib import Path; from pnp_ovss.vlms.checkpoints.convert import convert_file\n"
            "convert_file(Path('a.pth'), 'albef', Path('out'))",
            "transformers",
        ),
    ],
)
def test_what_needs_the_hub_says_so(code, package):
    assert f"needs {package}: pip install '.[hub]'" in run_without_hub(code).splitlines()[-1]


def test_a_local_model_of_transformers_says_so_too(tmp_path):
    (tmp_path / "preset.toml").write_text('[model]\nfamily = "blip"\n')
    (tmp_path / "model.safetensors").touch()
    said = run_without_hub(f"from pnp_ovss import Segmenter; Segmenter.from_pretrained({str(tmp_path)!r})")
    assert "needs transformers: pip install '.[hub]'" in said.splitlines()[-1]


def test_the_built_in_model_works_without_it(tmp_path):
    said = run_without_hub(
        "import numpy as np; from pnp_ovss import Segmenter\n"
        "photo = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)\n"
        "result = Segmenter.from_pretrained('pocket', size_px=64)(photo, ['cat', 'sofa'])\n"
        f"result.save({str(tmp_path)!r}); result.polygons('cat'); print(result.labels.shape, result.provenance.model)\n"
        "from pnp_ovss.cli.main import main; sys.argv = ['pnp-ovss', 'models']; main()\n"
    )
    assert "(96, 128) pocket" in said
    assert "blip-large-flickr" in said
    assert "Traceback" not in said
