"""Check the built files: what the wheel holds, its size, and that `segment` runs from it in a clean environment.

python .ci/check_dist.py dist
"""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from uv_options import options, pip_settings

ROOT = Path(__file__).parents[1]
LIMIT_BYTES = 25_000_000
"""The weights, float16, are all but 0.9 MB of it and do not compress further."""
NEEDED = (
    "weights/pocket.safetensors", "weights/pocket.bank.safetensors", "weights/pocket-vocab.txt", "weights/pocket-tags.txt",
    "weights/pocket-words.txt", "weights/MODEL_CARD.md", "weights/LICENSE-WEIGHTS", "weights/LICENSE-EFFICIENTNET",
    "presets/pocket.toml", "presets/methods/paper.toml", "py.typed",
)  # fmt: skip

LICENCES = (
    "LICENSE", "licences/bert-vocabulary.txt", "licences/minilm.txt", "licences/wordnet.txt",
    "src/pnp_ovss/weights/LICENSE-WEIGHTS",
)  # fmt: skip


def expected() -> set[str]:
    """The wheel's files besides its own records: what git tracks of the package."""
    listed = subprocess.run(["git", "ls-files", "src"], cwd=ROOT, capture_output=True, text=True, check=True)
    return {name.removeprefix("src/") for name in listed.stdout.splitlines()}


def problems(wheel: Path) -> list[str]:
    """What is wrong with a wheel, a line each."""
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
    code = {name for name in names if ".dist-info/" not in name}
    found = [f"missing: {name}" for name in sorted((expected() | {f"pnp_ovss/{name}" for name in NEEDED}) - code)]
    found += [f"not tracked by git: {name}" for name in sorted(code - expected())]
    kept = " ".join(names)
    found += [f"missing: {name}" for name in LICENCES if f"licenses/{name}" not in kept]
    size = wheel.stat().st_size
    return found + ([f"{size:,} bytes, more than {LIMIT_BYTES:,}"] if size > LIMIT_BYTES else [])


def try_out(wheel: Path, folder: Path) -> str:
    """What `segment` of the installed wheel prints, run in another folder on the photo that comes with the package."""
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    binary = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    uv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--python", str(binary / "python")]
    subprocess.run(
        [*uv, "-c", str(ROOT / "constraints.txt"), *options(pip_settings()), str(wheel)], cwd=folder, check=True
    )
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    photo = next(folder.glob("venv/**/pnp_ovss/testing/photos/astronaut.jpg"))
    command = [binary / "pnp-ovss", "segment", photo, "--classes", "person, cat", "--out", "out"]
    done = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, check=False)
    if done.returncode or not (folder / "out" / "astronaut.labels.png").is_file():
        raise SystemExit(f"segment failed in a clean environment:\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> None:
    """Check the wheel of a folder; ends with an error that lists what is wrong."""
    wheel = next(Path(sys.argv[1]).resolve().glob("*.whl"))
    if found := problems(wheel):
        raise SystemExit(f"{wheel.name}:\n" + "\n".join(found))
    with tempfile.TemporaryDirectory() as folder:
        print(try_out(wheel, Path(folder)))
    print(f"{wheel.name}: {wheel.stat().st_size:,} bytes, its contents are right, it runs where nothing else is")


if __name__ == "__main__":
    main()
