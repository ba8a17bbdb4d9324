"""What makes a site of the files that are there (mkdocs.yml): pages from outside docs/, links out of it, the reference.

On a code host every link leads to a file. On the site a link to a page of ours leads to its page; one to code leads to
the repository, whose address the variable PROJECT_URL gives, and is plain words without it.
"""

import json
import os
import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "UPGRADING.md": "upgrading.md",
    "src/pnp_ovss/weights/MODEL_CARD.md": "model-card.md",
    "licences/README.md": "third-parties.md",
    "SKILL.md": "skill.md",
    "training/README.md": "training.md",
    "training/LOG.md": "training-log.md",
    "benchmarks/results/evaluation.md": "tables.md",
    "benchmarks/results/evaluation-v5.md": "tables-v5.md",
    "benchmarks/results/evaluation-seed1.md": "tables-seed1.md",
    "benchmarks/results/crf.md": "crf-speed.md",
    "benchmarks/results/pareto.png": "pictures/pareto.png",
    "benchmarks/results/tuning-truth.png": "pictures/tuning-truth.png",
}
"""{file of the repository: its place on the site}, besides docs/."""
SURFACE = ROOT / "tests" / "api_surface.json"
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?\)")
TESTED = re.compile(r"^```(\w+)[^\n]*")
"""The first line of a block; the words after the language are for our tests and no Markdown of the site."""
CODE = re.compile(r"(```.*?```)", re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """A page of docs/ that mkdocs.yml does not place comes last, under "More"."""
    placed = set(re.findall(r"[\w-]+\.md", str(config.nav)))
    more = sorted(page.name for page in Path(config.docs_dir).glob("*.md") if page.name not in placed)
    if config.nav is not None and more:
        config.nav.append({"More": more})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie elsewhere and the reference."""
    for source, place in PAGES.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    files.append(File.generated(config, "api.md", content=reference()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Turn links to files of the repository into links of the site."""
    place = page.file.src_uri
    source = next((file for file, on_site in PAGES.items() if on_site == place), f"docs/{place}")
    parts = CODE.split(markdown)
    return "".join(
        TESTED.sub(r"```\1", part) if part.startswith("```") else _links(part, source, place) for part in parts
    )


def _links(text: str, source: str, place: str) -> str:
    folder = PurePosixPath(source).parent

    def follow(found: re.Match[str]) -> str:
        picture, words, target, anchor = found.groups()
        file = normpath(folder / target)
        there = PAGES.get(file, file.removeprefix("docs/") if file.startswith("docs/") else None)
        if there is not None and not there.endswith((".py", ".toml", ".ipynb")):
            return f"{picture}[{words}]({relpath(there, PurePosixPath(place).parent)}{anchor or ''})"
        home = os.environ.get("PROJECT_URL", "").rstrip("/")
        return f"{picture}[{words}]({home}/blob/main/{file})" if home else words

    return LINK.sub(follow, text)


def reference() -> str:
    """The page of the library's public names: their docstrings, module by module."""
    modules = json.loads(SURFACE.read_text("utf-8"))["modules"]
    parts = ["# The library", "Arrays, labels and units are those of the [conventions](conventions.md)."]
    for module, names in modules.items():
        parts.append(f"## {module}")
        parts += [f"::: {module}.{name}" for name in names]
    return "\n\n".join(parts) + "\n"
