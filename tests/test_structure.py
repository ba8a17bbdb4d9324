"""The house: imports run one way, no circle of files or folders, files that can be read at a sitting."""

import ast
from pathlib import Path

import pytest

import pnp_ovss

SOURCE = Path(__file__).parents[1] / "src" / "pnp_ovss"
ROOMS = (
    "errors", "values", "words", "extras", "environment", "clock", "files", "masks", "photo_files", "depth", "exif",
    "classes", "settings", "config", "keywords", "checkpoint", "presets", "provenance", "changes", "fetching",
    "photo_values", "images", "prompt", "saliency", "postprocess", "completion", "competition", "verdicts", "pictures",
    "outputs", "refiners", "vlms", "clip", "candidates", "policies", "rivals", "trace", "automatic", "gradcam", "presence",
    "preparing", "result_files", "result_forms", "segmentation", "segmenter", "spec", "testing", "tiles", "explain",
    "datasets", "calibration", "gallery", "model_check", "evaluation", "baselines", "tuning", "batch", "export",
    "integrations", "video", "web", "serve", "cli",
)  # fmt: skip
"""Each may import those before it, TYPE_CHECKING included."""
LONGEST = 250
FILES = sorted(SOURCE.rglob("*.py"))
PROJECT = SOURCE.parents[1]
SCRIPTS = sorted(path for folder in ("benchmarks", "training", "docs") for path in (PROJECT / folder).glob("*.py"))


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES}


def imports_of(path: Path) -> set[str]:
    """The package's modules that a file imports, anywhere in it, without `pnp_ovss.`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pnp_ovss":
            base = (node.module or "").partition(".")[2]
            for alias in node.names:
                inner = f"{base}.{alias.name}" if base else alias.name
                found.add(inner if inner in MODULES else base)
        elif isinstance(node, ast.Import):
            found |= {a.name.partition(".")[2] for a in node.names if a.name.startswith("pnp_ovss.")}
    return found - {"", module_of(path)}


def room(module: str) -> str:
    return module.split(".")[0]


def test_every_room_has_its_place():
    rooms = {room(name) for name in MODULES} - {"__init__", "__main__"}
    assert rooms == set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_run_one_way(path):
    mine = room(module_of(path))
    if mine in ("__init__", "__main__"):
        return
    later = {m for m in imports_of(path) if room(m) != mine and ROOMS.index(room(m)) > ROOMS.index(mine)}
    assert not later, f"{module_of(path)} imports from rooms above it: {', '.join(sorted(later))}"


def test_no_circle_of_files():
    """Imports inside functions count: two files that need each other are one, or lack a third."""
    edges = {name: imports_of(path) & MODULES.keys() for name, path in MODULES.items() if name != "__init__"}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join((*above[above.index(name) :], name))
        if name not in done:
            for other in sorted(edges.get(name, ())):
                visit(other, (*above, name))
            done.add(name)

    for name in sorted(edges):
        visit(name, ())


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_a_file_can_be_read_at_a_sitting(path):
    assert len(path.read_text("utf-8").splitlines()) <= LONGEST


def defined(module: str) -> set[str]:
    """The names that a module of the package has, its submodules too."""
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    names = {name.removeprefix(f"{module}.") for name in MODULES if name.startswith(f"{module}.")}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_scripts_import_what_is_there(path):
    """Nobody runs a benchmark when a name changes."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        module = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
        if module == "pnp_ovss":
            assert {alias.name for alias in node.names} <= set(pnp_ovss.__all__) | set(MODULES)
        elif module.startswith("pnp_ovss."):
            home = module.removeprefix("pnp_ovss.")
            missing = {alias.name for alias in node.names} - (defined(home) if home in MODULES else set())
            assert not missing, f"{module} has no {', '.join(sorted(missing))}"
