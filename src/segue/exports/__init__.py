"""Answers as files of annotation tools and libraries, and back."""

from segue.exports.content import PicturedMasks, PlacedMask, masks_of
from segue.exports.export import FORMATS, Exported, export
from segue.exports.reading import read_export

__all__ = ["FORMATS", "Exported", "PicturedMasks", "PlacedMask", "export", "masks_of", "read_export"]
