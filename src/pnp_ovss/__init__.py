"""Open-vocabulary semantic segmentation from off-the-shelf vision-language models.

>>> from pnp_ovss import Segmenter
>>> segmenter = Segmenter.from_pretrained("pocket")  # doctest: +SKIP
>>> result = segmenter("photo.jpg", ["cat", "sofa"])  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pnp_ovss.config import SegmenterConfig as SegmenterConfig
    from pnp_ovss.errors import PnPError as PnPError
    from pnp_ovss.presets import list_methods as list_methods
    from pnp_ovss.presets import list_presets as list_presets
    from pnp_ovss.refiners import list_refiners as list_refiners
    from pnp_ovss.segmentation import Segmentation as Segmentation
    from pnp_ovss.segmenter import Segmenter as Segmenter

_HOMES = {
    "Segmenter": "pnp_ovss.segmenter",
    "Segmentation": "pnp_ovss.segmentation",
    "SegmenterConfig": "pnp_ovss.config",
    "PnPError": "pnp_ovss.errors",
    "list_presets": "pnp_ovss.presets",
    "list_methods": "pnp_ovss.presets",
    "list_refiners": "pnp_ovss.refiners",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import public names at first use, so that `import pnp_ovss` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'pnp_ovss' has no attribute '{name}'; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__doc__", "__name__"]
