"""Check that every relative link and picture in the Markdown files leads to a file of the repository, and to a heading."""

import re
import subprocess
import sys
from pathlib import Path

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?) *#*$", re.MULTILINE)


def read_prose(page: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub names them: small letters, hyphens for spaces, no punctuation."""
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in HEADING.findall(read_prose(page)))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def broken_links(page: Path) -> list[str]:
    """The relative targets in a page that do not exist; code blocks are skipped."""
    targets = [target for target in LINK.findall(read_prose(page)) if "://" not in target]
    return [target for target in targets if not _leads_somewhere(page, *target.partition("#")[::2])]


def _leads_somewhere(page: Path, file: str, anchor: str) -> bool:
    target = page.parent / file if file else page
    return target.exists() and (not anchor or target.suffix != ".md" or anchor in anchors(target))


def main() -> int:
    """Print each broken link; returns 1 if there is one."""
    root = Path(__file__).parent.parent
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=root, capture_output=True, text=True, check=True)
    found = [(name, target) for name in listed.stdout.split() for target in broken_links(root / name)]
    for name, target in found:
        print(f"{name}: link to {target} leads nowhere")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
