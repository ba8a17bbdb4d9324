"""Photos and folders of the commands: which there are, where results may go, whose a result is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pnp_ovss.errors import ImageError
from pnp_ovss.outputs import OutputFolder, refuse_inputs, result_names, unique_stems
from pnp_ovss.words import counted

DEMO = {
    "chelsea.png": "cat, dog, sofa, bicycle",
    "coffee.png": "cup, spoon, table, laptop, dog",
    "astronaut.png": "person, flag, airplane, cat",
    "motorcycle_left.png": "motorcycle, bicycle, horse",
}
"""Photographs that come with scikit-image and what is asked of each, absent classes among it."""


def skimage_folder() -> Path:
    """Where scikit-image keeps its photographs. Raises DependencyError without it."""
    from importlib.util import find_spec

    from pnp_ovss.errors import DependencyError

    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        raise DependencyError("the demo's photographs come with scikit-image: pip install '.[demo]'")
    return Path(spec.origin).parent / "data"


def check_folder(out: Path) -> None:
    """Make the folder, or raise OutputError before any work is done."""
    from pnp_ovss.files import writing

    with writing(out, "choose another --out"):
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".pnp-ovss-write-test"
        probe.touch()
        probe.unlink()


def check_results(out: Path, photos: Sequence[Path], stems: Sequence[str]) -> None:
    """Refuse, before a model is loaded, results that would replace what is read or what no run of ours made."""
    names = [name for stem in stems for name in result_names(stem)]
    refuse_inputs([out / name for name in names], photos, "a photo that is read")
    OutputFolder(out).check(names)


def owners_of(made: OutputFolder) -> dict[str, str]:
    """{stem: the photo that its result is of} of all runs into a folder."""
    found = dict(made.facts.get("owners", {}))
    for entry in made.entries:
        names = (name for name in entry["files"] if name.endswith(".labels.png"))
        if "photo" in entry and not entry.get("grey"):  # a grey copy's owner stands in the facts
            found |= {name.removesuffix(".labels.png"): entry["photo"] for name in names}
    return found


def own_stems(out: Path, photos: Sequence[Path]) -> list[str]:
    """One file stem a photo: no two share one, and none is that of another photo's result in the folder."""
    return unique_stems(photos, owners_of(OutputFolder(out)))


def check_any(photos: Sequence[Path]) -> None:
    """Fail before a model is loaded when no photo is there at all."""
    from pnp_ovss.images import check_file

    if not photos or any(map(_may_exist, photos)):
        return
    try:
        check_file(photos[0])
    except ImageError as error:
        more = f" (nor {counted(len(photos) - 1, 'other')})" if len(photos) > 1 else ""
        raise ImageError(f"{error}{more}") from None


def _may_exist(photo: Path) -> bool:
    """False only where it is known; why a photo cannot be looked at is said when it is read."""
    try:
        return photo.exists()
    except OSError:
        return True
