"""Colours of what is never painted in the object's own colour: red, green and blue, 0 to 255."""

from __future__ import annotations

RUBBER = (46, 46, 54)
GLASS = (178, 212, 230)
STEEL = (160, 167, 176)
IRON = (88, 93, 102)
PAPER = (238, 230, 208)
STALK = (112, 140, 84)
POLLEN = (236, 188, 60)
