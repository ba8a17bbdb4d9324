"""A name that the text encoder cannot read is refused before matching, not by the model's own error."""

import numpy as np
import pytest

from pnp_ovss import Segmenter, SegmenterConfig
from pnp_ovss.errors import ClassNameError
from pnp_ovss.testing.small_models import small_vilt
from pnp_ovss.vlms.encoders.wordpiece import WordPieceTokenizer
from pnp_ovss.vlms.vilt import ViltVLM


def test_vilt_reads_forty_tokens(vocabulary):
    vlm = ViltVLM(small_vilt(), WordPieceTokenizer.from_vocabulary(vocabulary))
    segmenter = Segmenter(vlm, SegmenterConfig(layer=1, head=1, size_px=32, refine="none", policy="itm"))
    photo = np.zeros((20, 20, 3), dtype=np.uint8)

    with pytest.raises(ClassNameError, match="this model reads 40"):
        segmenter(photo, ["cat", " ".join(["dog"] * 50)])
