"""What of the package's description depends on where it is published: its address, and README's links.

The variable PROJECT_URL names the repository's page when a release is built (.github/workflows/release.yml); links of
README then lead there. Without it the description has no links into the repository, for they would lead nowhere.
"""

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

RELATIVE = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)\s]+)\)")


class CustomMetadataHook(MetadataHookInterface):
    """Fills in `readme` and `urls`."""

    def update(self, metadata: dict[str, Any]) -> None:
        home = os.environ.get("PROJECT_URL", "").rstrip("/")
        text = Path(self.root, "README.md").read_text("utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": absolute_links(text, home)}
        metadata["urls"] = project_urls(home)


def project_urls(home: str) -> dict[str, str]:
    """The addresses that an index shows; none without a home."""
    pages = {"Repository": "", "Documentation": "/blob/main/docs/tutorial.md", "Changelog": "/blob/main/CHANGELOG.md"}
    return {name: home + page for name, page in {**pages, "Issues": "/issues"}.items()} if home else {}


def absolute_links(text: str, home: str) -> str:
    """README with its relative links leading to `home`; without one, pictures go and links leave their words.

    >>> absolute_links("[a](docs/a.md) ![b](b.png)", "https://host/me/it")
    '[a](https://host/me/it/blob/main/docs/a.md) ![b](https://host/me/it/raw/main/b.png)'
    >>> absolute_links("[a](docs/a.md), [c](https://c), ![b](b.png)", "")
    'a, [c](https://c), '
    """

    def place(found: re.Match[str]) -> str:
        picture, words, target = found.groups()
        if not home:
            return "" if picture else words
        return f"{picture}[{words}]({home}/{'raw' if picture else 'blob'}/main/{target})"

    return RELATIVE.sub(place, text)
