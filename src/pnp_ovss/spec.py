"""Which segmenter, as plain values: what a command line says, what a worker process is sent."""

from __future__ import annotations

import gc
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pnp_ovss.presets import ModelPreset
    from pnp_ovss.segmenter import Segmenter
    from pnp_ovss.vlms.base import VisionLanguageModel


@dataclass(frozen=True, kw_only=True)
class SegmenterSpec:
    """Model, method, settings that were given (fields of `SegmenterConfig`), device; picklable.

    candidates: {photo: names that may win}, for policy `file`.
    """

    model: str = "pocket"
    method: str | None = None
    device: str = "auto"
    settings: Mapping[str, Any] = field(default_factory=dict)
    candidates: Mapping[str, Sequence[str]] | None = None

    def preset(self) -> ModelPreset:
        """The model's preset, settled: a repository of the hub that none names is fetched. Raises ConfigError, ModelError."""
        from pnp_ovss.presets import get_preset
        from pnp_ovss.vlms.checkpoints.loading import settle

        return settle(get_preset(self.model))

    def make(self, vlm: VisionLanguageModel | None = None, **decided: Any) -> Segmenter:
        """The segmenter. vlm: the same model, already loaded. decided: settings that hold unless they were given."""
        from pathlib import Path

        from pnp_ovss.presets import resolve

        with importing_torch():
            from pnp_ovss.segmenter import Segmenter
            from pnp_ovss.vlms.checkpoints.hub import hush

        settings = {**decided, **self.settings}
        hush()
        if vlm is None:
            return Segmenter.from_pretrained(self.model, method=self.method, device=self.device, **settings)
        config = resolve(self.preset(), self.method, **settings)
        return Segmenter(vlm, config, method=Path(self.method).stem if self.method else "preset")


@contextmanager
def importing_torch() -> Generator[None]:
    """Where the block is the first to import torch: no search for garbage meanwhile, and none among what it made, ever.

    Its 150 thousand objects live as long as the process; searching them costs a cold command more than its photo's first
    pass, most of it at the very end (docs/performance.md).
    """
    enabled = gc.isenabled() and "torch" not in sys.modules
    if enabled:
        gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.freeze()
            gc.enable()
