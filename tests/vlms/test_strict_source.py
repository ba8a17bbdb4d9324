"""No weights of transformers get around the checked loader."""

import ast
from pathlib import Path

import pnp_ovss

SOURCE = Path(pnp_ovss.__file__).parent
DOORS = {SOURCE / "vlms" / "checkpoints" / "strict.py", SOURCE / "refiners" / "promptable_weights.py"}
"""Each refuses missing weights; refiners may not import from the models' room."""


def _of_transformers(tree: ast.Module) -> set[str]:
    """Names that a file imports from transformers, wherever."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {alias.name for node in imports if str(node.module).startswith("transformers") for alias in node.names}


def calls_of_from_pretrained(source: str) -> list[str]:
    """What a file calls `from_pretrained` on, where that is a class of transformers or not named by a class at all."""
    tree = ast.parse(source)
    foreign = _of_transformers(tree)
    calls = [
        node.func for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]
    found = [ast.unparse(call.value) for call in calls if call.attr == "from_pretrained"]
    own = {"Segmenter", "Clip", "ClipScorer", "GroupViT", "MaskClip", "Reco"}
    return [name for name in found if name in foreign or name not in own]


def test_the_walk_sees_a_bypass():
    bypass = "from transformers import CLIPModel\nmodel = CLIPModel.from_pretrained(folder)"
    assert calls_of_from_pretrained(bypass) == ["CLIPModel"]
    assert calls_of_from_pretrained("import transformers as t\nt.AutoModel.from_pretrained(x)") == ["t.AutoModel"]


def test_only_the_checked_loader_calls_transformers_from_pretrained():
    found = {path: calls_of_from_pretrained(path.read_text("utf-8")) for path in SOURCE.rglob("*.py")}
    assert {path for path, calls in found.items() if calls} == DOORS
