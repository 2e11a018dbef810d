"""Outlines of a mask along its pixel edges, exactly, with holes joined to the outline around them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_Point = tuple[int, int]
# Directions 0 east, 1 south, 2 west, 3 north; on the screen y points down, so +1 is a turn to the right.
_NORTH = 3
_STEP = ((1, 0), (0, 1), (-1, 0), (0, -1))


def trace_outlines(mask: NDArray[np.bool_]) -> list[list[float]]:
    """Trace the outlines of a mask along its pixel edges; see `segue.masks.polygons`.

    Args:
        mask: bool `[height, width]`.

    Returns:
        Flat lists `[x0, y0, x1, y1, ...]` in pixels.
    """
    return [_flatten(loop) for loop in _join_holes(mask, _boundary_loops(mask))]


def _boundary_loops(mask: NDArray[np.bool_]) -> list[list[tuple[_Point, int]]]:
    """Follow the pixel edges around the mask with its inside on the right hand.

    Where two pixels touch at a corner only, the loop turns right, that is, it stays with its own pixel.

    Returns:
        Closed loops of unit edges, each ((x, y) of its first corner, direction).
    """
    height, width = mask.shape
    # A border of background: pixels at the edge of the picture have an outline too.
    padded = np.zeros((height + 2, width + 2), dtype=np.bool_)
    padded[1:-1, 1:-1] = mask
    # Place (y, x) holds the pixel whose upper left corner is the point (x, y); one row and one column more
    # than the mask, for the edges below and to the right of the last pixels.
    here, above, left = padded[1:, 1:], padded[:-1, 1:], padded[1:, :-1]
    found = (here & ~above, left & ~here, above & ~here, here & ~left)
    # Where each edge begins, from that point: running west at its right end, running north at its lower.
    first_corner = ((0, 0), (0, 0), (1, 0), (0, 1))
    leaving: dict[_Point, list[int]] = {}
    for direction in range(4):
        dx, dy = first_corner[direction]
        for y, x in np.argwhere(found[direction]).tolist():
            leaving.setdefault((x + dx, y + dy), []).append(direction)
    loops: list[list[tuple[_Point, int]]] = []
    # Row by row, which is the order that `polygons` promises.
    for start in sorted(leaving, key=lambda corner: (corner[1], corner[0])):
        while leaving[start]:
            loop: list[tuple[_Point, int]] = []
            point, came = start, leaving[start][0] - 1
            while leaving[point]:
                direction = _rightmost(leaving[point], came)
                leaving[point].remove(direction)
                loop.append((point, direction))
                point, came = (point[0] + _STEP[direction][0], point[1] + _STEP[direction][1]), direction
            loops.append(loop)
    return loops


def _rightmost(choices: Sequence[int], came: int) -> int:
    """Choose the edge that turns right, else goes straight on, else turns left."""
    # 0 is right, 1 straight on, 2 left; 3 would be back.
    return min(choices, key=lambda direction: (came + 1 - direction) % 4)


def _is_hole(loop: Sequence[tuple[_Point, int]]) -> bool:
    """Outlines run clockwise on the screen (positive area, y points down), holes the other way."""
    # Green: the sum of x dy is the area, and its sign the sense of rotation.
    return sum(point[0] * _STEP[direction][1] for point, direction in loop) < 0


def _join_holes(mask: NDArray[np.bool_], loops: Sequence[Sequence[tuple[_Point, int]]]) -> list[list[_Point]]:
    """Cut from each hole straight left to the loop that the cut meets first, and chain the two.

    The holes are taken from left to right, so that a loop which is met has already been joined to an outline.
    The loops are kept as one chain of corners, `following[node]`, to make each joint cost the same.
    """
    corners: list[_Point] = []
    following: list[int] = []
    first_node: list[int] = []
    node_of_edge: dict[tuple[_Point, int], int] = {}
    for loop in loops:
        first = len(corners)
        first_node.append(first)
        for node, edge in enumerate(loop, start=first):
            node_of_edge[edge] = node
            corners.append(edge[0])
            following.append(node + 1)
        following[-1] = first
    holes = [k for k, loop in enumerate(loops) if _is_hole(loop)]
    anchors = {k: min(edge[0] for edge in loops[k]) for k in holes}
    for k in sorted(holes, key=lambda hole: anchors[hole]):
        x, y = anchors[k]
        # The hole's leftmost corner is (x, y), so row y has mask directly left of it, as far as the last gap.
        outside = np.flatnonzero(~mask[y, :x])
        met = int(outside[-1]) + 1 if len(outside) else 0
        # The edge met runs north, from (met, y + 1) to (met, y), where the cut begins.
        before = node_of_edge[((met, y + 1), _NORTH)]
        entry = next(
            node for node in range(first_node[k], first_node[k] + len(loops[k])) if corners[node] == (x, y)
        )
        last = next(
            node for node in range(first_node[k], first_node[k] + len(loops[k])) if following[node] == entry
        )
        cut, back = len(corners), len(corners) + 1
        corners += [(met, y), (x, y)]
        following += [entry, following[before]]
        # a -> b and hole e .. l become a -> cut -> e .. l -> back -> b, with b at the cut's own corner.
        following[before], following[last] = cut, back
    hole_set = set(holes)
    return [_chain(corners, following, first_node[k]) for k in range(len(loops)) if k not in hole_set]


def _chain(corners: Sequence[_Point], following: Sequence[int], first: int) -> list[_Point]:
    """Read one closed chain, leaving out corners where nothing turns."""
    points = [corners[first]]
    node = following[first]
    while True:
        point = corners[node]
        if len(points) > 1 and _direction(points[-2], points[-1]) == _direction(points[-1], point):
            points[-1] = point
        elif point != points[-1]:
            points.append(point)
        if node == first:
            return points[:-1]
        node = following[node]


def _direction(a: _Point, b: _Point) -> tuple[int, int]:
    return (b[0] > a[0]) - (b[0] < a[0]), (b[1] > a[1]) - (b[1] < a[1])


def _flatten(loop: Sequence[_Point]) -> list[float]:
    return [float(value) for point in loop for value in point]
