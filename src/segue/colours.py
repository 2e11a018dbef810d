"""The words that colours are called by: one list for writing data and for telling colours apart in images."""

from __future__ import annotations

COLOUR_NAMES = (
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "purple",
    "pink",
    "brown",
    "white",
    "black",
    "grey",
)
"""The basic colour terms; their order numbers the attributes in saved weights, so it stays. Source: ours."""
