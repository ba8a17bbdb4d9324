"""Make docs/api.md, the library's public names with their signatures and docstrings: `make docs`

Reads the source files and imports nothing but `pnp_ovss`, so that the page is the same whatever is installed.
"""

import ast
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import pnp_ovss

PAGE = Path(__file__).parent / "api.md"
SOURCE = Path(pnp_ovss.__file__).parent
TITLE = """# The library

Made from the docstrings by `make docs`. Arrays are (height, width), colours RGB, labels
0 = background and i = the i-th class. Every error that is raised on purpose is a `pnp_ovss.PnPError` of one line.
"""
MODULES: dict[str, Sequence[str]] = {  # no names: the module's `__all__`
    "pnp_ovss": (),
    "pnp_ovss.errors": (
        "ConfigError", "ClassNameError", "ImageError", "ModelError", "DatasetError", "OutputError", "RefinerError",
        "DependencyError",
    ),
    "pnp_ovss.trace": ("Prepared", "Pass", "Trace"),
    "pnp_ovss.provenance": ("Provenance", "fingerprint", "digest"),
    "pnp_ovss.presets": ("ModelPreset", "get_preset", "get_method", "resolve"),
    "pnp_ovss.policies": ("ClassPolicy", "Request", "Choice", "KeepRule"),
    "pnp_ovss.candidates": ("Candidates",),
    "pnp_ovss.images": ("read_image",),
    "pnp_ovss.refiners": ("Refiner", "get_refiner"),
    "pnp_ovss.export": (),
    "pnp_ovss.batch.run": ("run_batch",),
    "pnp_ovss.batch.job": ("Job", "Resources"),
    "pnp_ovss.datasets": (),
    "pnp_ovss.masks.rasterise": ("rasterise",),
    "pnp_ovss.evaluation.run": ("run", "RunOptions", "Results"),
    "pnp_ovss.evaluation.systems": ("System", "Query", "Answer", "SegmenterSystem"),
    "pnp_ovss.evaluation.report": ("summarise", "EvaluationReport", "read_report"),
    "pnp_ovss.baselines": (),
    "pnp_ovss.tuning.tune": ("tune", "TuneOptions", "Tuned"),
    "pnp_ovss.tuning.maps": ("TaggedImage", "MapStore"),
    "pnp_ovss.clip": ("Clip",),
    "pnp_ovss.tuning.scorers": ("Scorer", "MatchScorer", "ClipScorer"),
    "pnp_ovss.vlms.base": (
        "VisionLanguageModel", "ImageFeatures", "CrossAttention", "evaluating", "layer_index", "head_index",
        "match_objective", "scatter_patches",
    ),
    "pnp_ovss.vlms.encoders.wordpiece": ("WordPieceTokenizer", "pad_prompts"),
    "pnp_ovss.prompt": ("Prompt", "Tokens"),
    "pnp_ovss.testing.vlm_contract": ("VlmContract",),
    "pnp_ovss.testing.vlm_case": ("VlmCase",),
    "pnp_ovss.testing.refiner_contract": ("RefinerContract",),
    "pnp_ovss.testing.fake_vlm": ("FakeVLM",),
}  # fmt: skip

Definition = ast.ClassDef | ast.FunctionDef


class Module:
    """One source file and what its top level defines."""

    def __init__(self, name: str) -> None:
        path = SOURCE.joinpath(*name.split(".")[1:])
        file = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
        self.text = file.read_text("utf-8")
        self.body = ast.parse(self.text).body
        self.homes = {
            alias.asname or alias.name: str(node.module)
            for node in ast.walk(ast.Module(self.body, []))
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }

    def find(self, name: str) -> tuple[ast.stmt, str] | None:
        """The statement that defines a name, and the docstring of a class, function or constant."""
        for node, after in zip(self.body, [*self.body[1:], None], strict=True):
            if isinstance(node, Definition) and node.name == name:
                return node, ast.get_docstring(node) or ""
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
                return node, _string(after)
        return None

    def code(self, first: int, last: int) -> str:
        """Source lines from `first` up to, not including, `last` (from 1), without their indent."""
        return textwrap.dedent("\n".join(self.text.splitlines()[first - 1 : last - 1])).strip()


def public_names() -> dict[str, tuple[str, ...]]:
    """{module: its public names}, in the order of the page."""
    return {module: tuple(names) or _all_of(module) for module, names in MODULES.items()}


def _all_of(module: str) -> tuple[str, ...]:
    if module == "pnp_ovss":
        return tuple(pnp_ovss.__all__)
    node, _ = Module(module).find("__all__") or (None, "")
    return tuple(ast.literal_eval(node.value)) if isinstance(node, ast.Assign) else ()


def find(module: str, name: str) -> tuple[Module, ast.stmt, str]:
    """Where a public name is defined, following imports."""
    home = pnp_ovss._HOMES.get(name, module) if module == "pnp_ovss" else module
    source = Module(home)
    while (found := source.find(name)) is None:
        source = Module(source.homes[name])
    return source, *found


def render() -> str:
    """The page's text."""
    names = public_names()
    parts = [TITLE, "\n".join(_contents(module, names[module]) for module in names)]
    for module in names:
        parts.append(f"## {module}")
        parts += [text for name in names[module] for text in entry(module, name)]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _contents(module: str, names: Sequence[str]) -> str:
    line = f"* [{module}](#{module.replace('.', '')}): {', '.join(names)}"
    return textwrap.fill(line, 120, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def entry(module: str, name: str) -> Iterator[str]:
    """The parts of one name: heading, signature, docstring, fields and methods."""
    source, node, doc = find(module, name)
    yield f"### {name}"
    if isinstance(node, ast.ClassDef):
        yield from _class(source, node, doc)
        return
    yield _fence(_signature(source, node))
    yield _text(doc)


def _class(source: Module, node: ast.ClassDef, doc: str) -> Iterator[str]:
    methods = [n for n in node.body if isinstance(n, ast.FunctionDef)]
    made = [textwrap.indent(_signature(source, n), "    ") for n in methods if n.name == "__init__"]
    yield _fence("\n".join([_signature(source, node), *made]))
    yield _text(doc)
    yield "\n".join(_fields(source, node))
    for method in methods:
        if method.name == "__call__" or not method.name.startswith(("_", "test_")):
            yield f"#### {node.name}.{method.name}"
            yield _fence(_signature(source, method))
            yield _text(ast.get_docstring(method) or "")


def _fields(source: Module, node: ast.ClassDef) -> Iterator[str]:
    for field, after in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and not ast.unparse(field.target).startswith("_"):
            doc = " ".join(_string(after).split())
            yield f"* `{ast.get_source_segment(source.text, field)}`" + (f": {doc}" if doc else "")


def _string(node: ast.stmt | None) -> str:
    """The text of a statement that is a string, as stands below a constant or a field."""
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return node.value.value if is_text else ""


def _signature(source: Module, node: ast.stmt) -> str:
    """The source of a definition up to its docstring, or of a whole constant."""
    if not isinstance(node, Definition):
        return source.code(node.lineno, (node.end_lineno or node.lineno) + 1)
    start = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    return source.code(start, node.body[0].lineno).removesuffix(":")


def _fence(code: str, language: str = "python") -> str:
    return f"```{language}\n{code}\n```"


def _text(doc: str) -> str:
    """A docstring as Markdown: its examples become blocks of code."""
    return re.sub(r"^>>> .*?(?=\n\n|\Z)", lambda found: _fence(found[0], "pycon"), doc, flags=re.MULTILINE | re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(render(), "utf-8")
