"""Check that every relative link and picture in the Markdown files leads to a file of the repository."""

import re
import subprocess
import sys
from pathlib import Path

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def broken_links(page: Path) -> list[str]:
    """The relative targets in a page that do not exist; code blocks are skipped."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    targets = (target.split("#")[0] for target in LINK.findall(text) if "://" not in target)
    return [target for target in targets if target and not (page.parent / target).exists()]


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
