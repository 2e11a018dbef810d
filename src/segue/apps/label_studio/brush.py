"""Brush masks as Label Studio keeps them: run lengths of RGBA bytes, packed into bits; not COCO's RLE.

32 bits say how many bytes there are, 5 bits the size of a value less one, 4 times 4 bits the sizes of lengths
less one. Then come runs: a bit that tells a repeated value (1) from single ones (0), 2 bits that choose a
size, the length less one, and the value or values.

Source: rle-pack of thi.ng/umbrella, which Label Studio's editor uses; its SDK's `converter.brush` reads it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segue.masks import Mask

_VALUE_BITS = 8
_LENGTH_BITS = (3, 4, 8, 16)
_CHANNELS = 4
_ALPHA = 3
_OPAQUE = 128
"""Alpha from which on a pixel belongs to the mask: the editor draws strokes with soft edges."""


class DamagedBrush(ValueError):
    """Numbers that are no brush mask of the stated size."""


def encode(mask: Mask) -> list[int]:
    """A mask as Label Studio's `rle`.

    Args:
        mask: bool `[height, width]`.

    Returns:
        Bytes as numbers; white and opaque inside, black and clear outside.
    """
    flat = np.asarray(mask, dtype=bool).ravel()
    header = f"{flat.size * _CHANNELS:032b}{_VALUE_BITS - 1:05b}"
    bits = [header, *(f"{size - 1:04b}" for size in _LENGTH_BITS)]
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size)
    for start, end in zip((0, *ends[:-1].tolist()), ends.tolist(), strict=True):
        value = "11111111" if flat[start] else "00000000"
        length = (end - start) * _CHANNELS
        while length:
            run = min(length, 1 << _LENGTH_BITS[-1])
            choice = next(k for k, size in enumerate(_LENGTH_BITS) if run <= 1 << size)
            bits.append(f"1{choice:02b}{run - 1:0{_LENGTH_BITS[choice]}b}{value}")
            length -= run
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


def decode(rle: Sequence[int], hw: tuple[int, int]) -> Mask:
    """The mask that a brush region holds.

    Args:
        rle: Bytes as numbers.
        hw: Height and width that the region states.

    Returns:
        bool `[height, width]`: where the alpha channel is at least half.

    Raises:
        DamagedBrush: They are no bytes, end too early, or hold another number of pixels.
    """
    try:
        packed = bytes(rle)
    except (TypeError, ValueError) as error:
        raise DamagedBrush(f"no list of bytes: {error}") from None
    bits = _Bits(np.unpackbits(np.frombuffer(packed, dtype=np.uint8)))
    count = bits.number(32)
    # Before any memory is taken: the count is whatever the file says.
    if count != hw[0] * hw[1] * _CHANNELS:
        raise DamagedBrush(f"{count} bytes for {hw[1]} x {hw[0]} pixels of {_CHANNELS} bytes")
    width = bits.number(5) + 1
    sizes = [bits.number(4) + 1 for _ in range(4)]
    out = np.zeros(count, dtype=np.uint32)
    at = 0
    while at < count:
        repeated = bits.number(1)
        length = bits.number(sizes[bits.number(2)]) + 1
        if at + length > count:
            raise DamagedBrush(f"a run ends behind the last of {count} bytes")
        out[at : at + length] = bits.number(width) if repeated else bits.numbers(length, width)
        at += length
    mask: Mask = out.reshape(*hw, _CHANNELS)[:, :, _ALPHA] >= _OPAQUE
    return mask


class _Bits:
    """Reads numbers from an array of bits, the highest bit first."""

    def __init__(self, bits: np.ndarray) -> None:
        self._bits, self._at = bits, 0

    def numbers(self, count: int, size: int) -> np.ndarray:
        """`count` numbers of `size` bits each."""
        taken = self._bits[self._at : self._at + count * size]
        if len(taken) < count * size:
            raise DamagedBrush(f"only {len(self._bits)} bits")
        self._at += count * size
        weights = 1 << np.arange(size - 1, -1, -1, dtype=np.int64)
        found: np.ndarray = taken.reshape(count, size).astype(np.int64) @ weights
        return found

    def number(self, size: int) -> int:
        """One number."""
        return int(self.numbers(1, size)[0])
