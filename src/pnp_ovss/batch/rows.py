"""One photo, one row: what is kept of a segmentation, and of a failure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pnp_ovss.batch.sources import PhotoRef
from pnp_ovss.files import shown
from pnp_ovss.masks.rle import encode_labels
from pnp_ovss.provenance import digest

if TYPE_CHECKING:
    import pyarrow as pa

    from pnp_ovss.segmentation import Segmentation

CAUSES = {
    "image": "the photo cannot be read",
    "refused": "the photo or its classes were refused",
    "error": "an error in the model",
    "killed": "its worker died",
    "timeout": "it took too long",
    "memory": "it needed too much memory",
}
"""Values of the column `cause`, and what they mean."""


def schema() -> pa.Schema:
    """The columns of a shard; docs/scaling.md describes them."""
    import pyarrow as pa

    each = [("id", pa.int32()), ("name", pa.string()), ("share", pa.float64()), ("match_score", pa.float64())]
    classes = pa.list_(pa.struct([*each, ("rle", pa.string())]))
    return pa.schema(
        [
            ("number", pa.int64()), ("id", pa.string()), ("path", pa.string()), ("stamp", pa.string()), ("status", pa.string()),
            ("cause", pa.string()), ("error", pa.string()), ("height", pa.int32()), ("width", pa.int32()),
            ("classes", classes), ("png", pa.string()), ("model", pa.string()), ("config_hash", pa.string()),
            ("seconds", pa.float64()),
        ]
    )  # fmt: skip


def result_row(
    number: int, ref: PhotoRef, result: Segmentation, *, stamp: str, png: str | None, seconds: float
) -> dict[str, Any]:
    """The row of a segmented photo: every asked class with share and match score, found ones with COCO's RLE.

    stamp: of the file that was read. The RLE is the compressed `counts`; its size is (height, width) of the upright photo.
    """
    runs = encode_labels(result.labels)
    classes = [
        {"id": i, "name": name, "share": result.shares[name], "match_score": _number(result.match_scores[name])}
        | {"rle": runs.get(i)}
        for i, name in enumerate(result.class_names, 1)
    ]
    height, width = result.labels.shape
    made = result.provenance
    return _row(number, ref) | {
        "stamp": stamp, "status": "ok", "height": height, "width": width, "classes": classes, "png": png,
        "model": made.model, "config_hash": digest(made.config.to_dict()), "seconds": round(seconds, 4),
    }  # fmt: skip


def failed_row(number: int, ref: PhotoRef, cause: str, error: str) -> dict[str, Any]:
    """The row of a photo that could not be segmented; cause: a key of `CAUSES`; error: one line."""
    text = error.encode("utf-8", "backslashreplace").decode()
    return _row(number, ref) | {"status": "failed", "cause": cause, "error": " ".join(text.split())}


def _row(number: int, ref: PhotoRef) -> dict[str, Any]:
    return dict.fromkeys(schema().names) | {"number": number, "id": ref.id, "path": shown(ref.path)}


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
