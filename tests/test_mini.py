"""The embedded model, as a user meets it: photographs, questions, masks, and no confident nonsense."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

import segue
from segue.data.sources import read_annotated  # noqa: F401
from segue.models.auto import WEIGHTS_FOLDER

WEIGHTS = WEIGHTS_FOLDER / "segue-mini"
