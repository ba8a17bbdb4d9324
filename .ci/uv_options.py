"""Print the options with which uv installs from where this machine's pip would: its find-links and index.

uv does not read pip's configuration; a machine that keeps, say, a CPU build of torch in a find-links folder would
otherwise get another build. Folders that do not exist are left out, because uv refuses them.
"""

import ast
import subprocess
import sys
from pathlib import Path


def pip_settings() -> dict[str, str]:
    """{key without its section: value} of `pip config list`."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    pairs = (line.split("=", 1) for line in listing.splitlines() if "=" in line)
    return {key.rsplit(".", 1)[-1]: ast.literal_eval(value) for key, value in pairs}


def options(settings: dict[str, str]) -> list[str]:
    """uv's options for these settings."""
    found = []
    for place in dict.fromkeys(settings.get("find-links", "").split()):
        if "://" in place or Path(place).exists():
            found += ["--find-links", place]
    if "index-url" in settings:
        found += ["--default-index", settings["index-url"]]
    return found


if __name__ == "__main__":
    print(" ".join(options(pip_settings())))
