"""A model's encoders and what they made of pictures: the way from a picture to what sessions need of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from itertools import count

import torch
from PIL import Image
from torch import Tensor

from segue.inference.encoder_cache import Encoded, EncoderCache
from segue.models.auto import ModelBundle
from segue.models.encoder_features import image_hash, image_weights
from segue.models.image_streams import moved

SEGMENTER_STREAM = "pixel_values_sam"
"""The pixels that masks are drawn in; all others are for the language model."""

_encoders = count()


class ImageEncoder:
    """Encodes pictures of all sessions of one model, each once.

    What is kept is found by the picture's content, the model's weights outside the language model, and the
    processor's image streams. It ends where the question comes in: a Q-Former's and SQuARE's outputs depend
    on it, or on the other pictures, and are computed for each conversation.

    Args:
        bundle: Of the model; not looked at before the first picture.
        cache: Where results are kept; one may serve several models.
    """

    def __init__(self, bundle: ModelBundle, cache: EncoderCache) -> None:
        self.bundle, self.cache = bundle, cache
        # Two models in one cache: addresses of their weights may be equal when one is gone.
        self._number = next(_encoders)
        self._hashed: tuple[Hashable, str] | None = None
        self._stream: torch.cuda.Stream | None = None
        # One picture at a time of each kind bounds the memory of nine; words and masks need not wait for
        # each other.
        self._locks = {"visual": threading.Lock(), "drawable": threading.Lock(), "both": threading.Lock()}

    def visual(self, image: Image.Image, content: str) -> Encoded:
        """What the language model's encoders make of a picture; `visual` of it is filled.

        Args:
            image: RGB.
            content: Its `segue.images.content_hash`.
        """
        if self.bundle.model.encodes_together:
            return self._get("both", content, lambda: self._both(image))
        return self._get("visual", content, lambda: self._visual(image))

    def drawable(self, image: Image.Image, content: str) -> Encoded:
        """What the segmenter makes of a picture; `drawable` of it is filled. See `visual`.

        A streamed answer asks for it from two threads: from the one that runs ahead, and from the one that
        draws, which waits here until the other has finished the picture.
        """
        if self.bundle.model.encodes_together:
            return self._get("both", content, lambda: self._both(image))
        return self._get("drawable", content, lambda: self._beside(lambda: self._drawable(image)))

    def _get(self, kind: str, content: str, encode: Callable[[], Encoded]) -> Encoded:
        model = self.bundle.model

        def make() -> Encoded:
            with self._locks[kind], torch.no_grad():
                return encode()

        state = self._state()
        key = (self._number, state, kind, content)
        return self.cache.get(
            key, make, lambda: f"{self._hash(state)}/{content}.{kind}.safetensors", model.device
        )

    def _beside(self, encode: Callable[[], Encoded]) -> Encoded:
        """Run on CUDA in a stream of its own, beside the language model; elsewhere threads suffice."""
        device = self.bundle.model.device
        if device.type != "cuda":
            return encode()
        if self._stream is None:
            self._stream = torch.cuda.Stream(device)
        usual = torch.cuda.current_stream(device)
        self._stream.wait_stream(usual)
        with torch.cuda.stream(self._stream):
            made = encode()
        # This thread alone waits: whoever gets the result may use it in any stream.
        self._stream.synchronize()
        for value in made.tensors.values():
            # Otherwise its memory could be given to this stream while the other still reads it.
            value.record_stream(usual)
        return made

    def _visual(self, image: Image.Image) -> Encoded:
        names = tuple(name for name in self.bundle.processor.streams if name != SEGMENTER_STREAM)
        return Encoded(visual=self.bundle.model.encode_features(**self._pixels(image, names)))

    def _drawable(self, image: Image.Image) -> Encoded:
        pixels = self._pixels(image, (SEGMENTER_STREAM,))[SEGMENTER_STREAM]
        return Encoded(drawable=self.bundle.model.segmenter.encode(pixels))

    def _both(self, image: Image.Image) -> Encoded:
        """Both at once, where one trunk serves both."""
        return Encoded(*self.bundle.model.encode(self._pixels(image, tuple(self.bundle.processor.streams))))

    def _pixels(self, image: Image.Image, names: tuple[str, ...]) -> dict[str, Tensor]:
        """Pixel streams of one image, `[1, 3, S, S]` each, where the model is."""
        model = self.bundle.model
        streams = self.bundle.processor.encode_pixels([image], names)
        return moved(streams, model.device, model.dtype)

    def _state(self) -> Hashable:
        """Changes when a weight is written or moved, or the processor is set otherwise; costs no reading."""
        streams = repr(sorted(self.bundle.processor.image_streams.items()))
        # Tensors made in inference mode count no versions; they cannot be written either.
        weights = tuple(
            (value.data_ptr(), 0 if value.is_inference() else value._version)
            for value in image_weights(self.bundle.model).values()
        )
        return streams, hash(weights)

    def _hash(self, state: Hashable) -> str:
        """The same as a hash that holds in every process; weights are read once for each state."""
        if self._hashed is None or self._hashed[0] != state:
            self._hashed = (state, image_hash(self.bundle.model, self.bundle.processor))
        return self._hashed[1]
