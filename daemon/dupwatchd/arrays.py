"""The array types everybody shares; apart from `model`, so that a command that touches no pixel loads no numpy."""

import numpy as np
from numpy.typing import NDArray

Thumbnail = NDArray[np.uint8]  # (S, S, 3) RGB, upright
Thumbnails = NDArray[np.uint8]  # (N, S, S, 3) RGB, upright
