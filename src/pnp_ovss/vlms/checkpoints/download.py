"""Fetching a checkpoint from the hub: said before, seen while it runs, checked by hash after, each failure a sentence."""

from __future__ import annotations

import errno
import shutil
import sys
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pnp_ovss.errors import ModelError
from pnp_ovss.presets import ModelPreset
from pnp_ovss.vlms.checkpoints.digests import damaged_files

PICKLE = "pytorch_model"
TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Plan:
    """What is fetched: file names in their order, the weights last, so that who has them has everything."""

    files: tuple[str, ...]
    bytes: int
    pickled: bool


def download(preset: ModelPreset) -> Path:
    """The folder of the hub's cache with the files of a checkpoint, fetched where they are missing or damaged.

    Raises ModelError that says what is missing and what to do.
    """
    name, revision = str(preset.hub_id), preset.revision
    with explaining(preset):
        plan = _plan(_listing(name, revision), preset)
    _announce(preset, plan)
    clean_orphans(preset)
    folder = _fetch(preset, plan.files)
    damaged = damaged_files(folder)
    if damaged:
        _say(f"{', '.join(path.name for path in damaged)}: not as the hub has it; deleted and fetched again")
        _delete(damaged)
        folder = _fetch(preset, plan.files)
        if left := damaged_files(folder):
            _delete(left)
            raise ModelError(f"{left[0].name} of {name} came damaged twice and was deleted; try again later")
    return folder


def _fetch(preset: ModelPreset, files: Iterable[str]) -> Path:
    """Each file in turn, with a bar; what is in the cache is not fetched again."""
    from huggingface_hub import hf_hub_download
    from tqdm import tqdm

    paths = []
    for file in files:
        with explaining(preset):
            options: dict[str, Any] = {"revision": preset.revision, "etag_timeout": TIMEOUT_S, "tqdm_class": tqdm}
            paths.append(Path(hf_hub_download(str(preset.hub_id), file, **options)))
    return paths[0].parent


def clean_orphans(preset: ModelPreset) -> None:
    """Delete what killed downloads of this repository left: the hub's library never takes it up again.

    Its names are HASH.RANDOM.incomplete; whoever is fetching a file holds the lock of its hash, and is left alone.
    """
    from filelock import FileLock, Timeout
    from huggingface_hub import constants

    cache, name = Path(constants.HF_HUB_CACHE), f"models--{str(preset.hub_id).replace('/', '--')}"
    for left in (cache / name / "blobs").glob("*.*.incomplete"):
        lock = cache / ".locks" / name / f"{left.name.partition('.')[0]}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with suppress(Timeout, OSError), FileLock(lock, timeout=0):
            left.unlink(missing_ok=True)


def _listing(name: str, revision: str | None) -> dict[str, int]:
    """The size of every file of a repository, bytes; 0 where it is not told."""
    from huggingface_hub import HfApi

    found = HfApi().repo_info(name, revision=revision, files_metadata=True, timeout=TIMEOUT_S)
    return {file.rfilename: file.size or 0 for file in found.siblings or ()}


def _plan(sizes: dict[str, int], preset: ModelPreset) -> Plan:
    """Configuration and tokenizer, then safetensors, or pickles where there are none. Raises ModelError without both."""
    top = sorted(name for name in sizes if "/" not in name)
    weights = _weights(top, ".safetensors") or _weights(top, ".bin")
    if not weights:
        raise ModelError(
            f"{preset.hub_id} (revision {preset.revision or 'main'}) holds neither *.safetensors nor {PICKLE}.bin; "
            "set another revision in a preset's .toml file"
        )
    others = [name for name in top if name.endswith((".json", ".txt", ".jinja")) and ".index." not in name]
    files = (*others, *weights)
    return Plan(files, sum(sizes[name] for name in files), weights[-1].endswith(".bin"))


def _weights(names: Sequence[str], ending: str) -> list[str]:
    """The files of one kind that hold the model: the whole one, or the index and its shards; else whatever there is."""
    stem = "model" if ending == ".safetensors" else PICKLE
    if f"{stem}{ending}" in names:
        return [f"{stem}{ending}"]
    index = f"{stem}{ending}.index.json"
    if index in names:
        return [index, *(name for name in names if name.startswith(f"{stem}-") and name.endswith(ending))]
    return [name for name in names if name.endswith(ending)] if ending == ".safetensors" else []


def _announce(preset: ModelPreset, plan: Plan) -> None:
    """Size and place, before anything is fetched. Raises ModelError when the disk has no room for it."""
    from huggingface_hub import constants

    place = Path(constants.HF_HUB_CACHE)
    twice = f"; its pickle is rewritten once, {_gb(plan.bytes)} more in {constants.HF_HOME}" if plan.pickled else ""
    _say(f"fetching {preset.hub_id}: {_gb(plan.bytes)} into {place}{twice}")
    place.mkdir(parents=True, exist_ok=True)
    free, needed = shutil.disk_usage(place).free, plan.bytes * (2 if plan.pickled else 1)
    if free < needed:
        raise ModelError(
            f"{place} has {_gb(free)} free and {preset.hub_id} may need {_gb(needed)}; make room or set HF_HOME to "
            "another disk"
        )


def _gb(count: int) -> str:
    """Bytes for people.

    >>> _gb(1_790_000_000), _gb(420_000)
    ('1.8 GB', '0.4 MB')
    """
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _delete(paths: Iterable[Path]) -> None:
    for path in paths:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)


@contextmanager
def explaining(preset: ModelPreset) -> Generator[None]:
    """Whatever goes wrong between here and the hub becomes one ModelError that says what to do."""
    from pnp_ovss.errors import PnPError

    try:
        yield
    except PnPError:
        raise
    except Exception as error:  # the hub's errors, those of its network library, and the system's
        what = " (there is no such folder here)" if preset.source == "hub" else ""  # named by nobody's preset
        raise ModelError(f"{preset.hub_id}{what}: {_reason(preset, error)}") from error


def _reason(preset: ModelPreset, error: Exception) -> str:
    """One sentence: what happened and what to do."""
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    place, page = constants.HF_HUB_CACHE, f"{constants.ENDPOINT}/{preset.hub_id}"
    causes = [error, *_causes(error)]
    full = next((e for e in causes if isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT)), None)
    if full is not None:
        return f"the disk of {place} is full; make room or set HF_HOME to another disk, then call again: finished files stay"
    if any(isinstance(e, HFValidationError) for e in causes):
        return "that is no name of a repository; it is written OWNER/NAME"
    answered = next((e for e in causes if isinstance(e, HfHubHTTPError) and e.response is not None), None)
    if answered is not None:
        return _answer(preset, answered, page)
    if any(isinstance(e, PermissionError) for e in causes):
        return f"{place} cannot be written; set HF_HOME to a folder of yours"
    kinds = {type(e).__name__ for e in causes}
    reached = not kinds & {"ConnectError", "ConnectTimeout"}
    if reached and any(word in kind for kind in kinds for word in ("Protocol", "Read", "Timeout", "Incomplete")):
        return "the connection broke again and again; call again: finished files stay, this one starts anew"
    if "Consistency check failed" in str(error):
        return "the file came incomplete; call again"
    revision = f" --revision {preset.revision}" if preset.revision not in (None, "main") else ""
    return (
        f"the weights (*.safetensors, revision {preset.revision or 'main'}) are not in the cache {place} and the hub "
        f"{constants.ENDPOINT} could not be reached ({type(error).__name__}); on a machine with a connection run "
        f"`pnp-ovss models fetch {preset.name}` (or `hf download {preset.hub_id}{revision}`) and copy that folder here, or use the "
        "built-in model: --model pocket"
    )


def _answer(preset: ModelPreset, error: Any, page: str) -> str:
    from huggingface_hub.errors import GatedRepoError, RevisionNotFoundError

    status = error.response.status_code
    if isinstance(error, GatedRepoError) or status == 403:
        return f"its owner asks for consent first: accept the terms at {page} and log in with `hf auth login`"
    if isinstance(error, RevisionNotFoundError):
        return (
            f"there is no revision {preset.revision!r}; take main or one that {page}/commits/main lists, as "
            f"{preset.name.partition('@')[0]}@REVISION"
        )
    if status == 401:
        return f"the hub has no such public model: check the name at {page}, or log in with `hf auth login`"
    if status == 404:
        return f"the hub has no such model or file; check the name at {page}"
    if status == 429:
        return (
            "too many requests from this address; wait some minutes, or log in with `hf auth login` for a higher limit"
        )
    if status >= 500:
        return f"the hub has a fault of its own ({status}); try again later"
    return f"the hub refuses the request ({status})"


def _causes(error: BaseException) -> Generator[BaseException]:
    seen: set[int] = {id(error)}
    following = error.__cause__ or error.__context__
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__
