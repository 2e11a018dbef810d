"""A model that can be asked: what `segue.load` returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from segue import protocol
from segue.images import ImageSource
from segue.inference.answer import SessionAnswer
from segue.inference.batching import BATCH_SIZE, ask_many
from segue.inference.encoder_cache import EncoderCache
from segue.inference.image_encoder import ImageEncoder
from segue.inference.one_by_one import OneByOneSession
from segue.inference.session import GroundingSession
from segue.models.auto import ModelBundle

if TYPE_CHECKING:
    from segue.inference.matching import MatchAnswer
    from segue.inference.regions import Region

Answer = TypeVar("Answer", bound=SessionAnswer)


@dataclass
class LoadedModel(ModelBundle):
    """A model that can be asked; `model`, `processor`, `name` and `path` are those of its parts.

    Attributes:
        encoder_cache: What encoders made of pictures, shared by all its sessions and single questions.
            Another one may be put in its place: `EncoderCache(most_bytes=..., folder=...)`.
    """

    encoder_cache: EncoderCache = field(default_factory=EncoderCache, kw_only=True, repr=False)
    _encoder: ImageEncoder | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def image_encoder(self) -> ImageEncoder:
        """Encoder of pictures that fills and reads `encoder_cache`."""
        if self._encoder is None or self._encoder.cache is not self.encoder_cache:
            self._encoder = ImageEncoder(self, self.encoder_cache)
        return self._encoder

    @property
    def takes_regions(self) -> bool:
        """Whether its questions may point at regions; `match` works with every model."""
        return self.model.region_reader is not None

    def session(
        self, images: Sequence[ImageSource] | ImageSource, *, names: Sequence[str] | None = None
    ) -> GroundingSession:
        """Start a conversation about 1 to 9 images; see `GroundingSession`.

        Models whose masks cannot name an image ask each for itself, see `OneByOneSession`.
        """
        apart = protocol.DIALECTS[self.processor.dialect].one_by_one
        kind = OneByOneSession if apart else GroundingSession
        return kind(self, images, names=names, encoder=self.image_encoder)

    def ask(self, text: str, images: Sequence[ImageSource] | ImageSource, **options: Any) -> SessionAnswer:
        """Ask a single question; `options` are those of `GroundingSession.ask`."""
        return self.session(images).ask(text, **options)

    def match(
        self,
        images: Sequence[ImageSource] | ImageSource,
        region: Region,
        *,
        names: Sequence[str] | None = None,
        threshold: float | None = None,
    ) -> MatchAnswer:
        """Find what is marked in one image in all the others, by looks alone; see docs/matching.md.

        No words and no training are needed: it works with weights that never saw a region.

        Args:
            images: 1 to 9 sources.
            region: A mask, box or point in one of them.
            names: What to call the images.
            threshold: Score from which the thing counts as there; the model's own by default.

        Returns:
            An answer like any other (masks, overlays, exports), with a score for every other image.

        Raises:
            InputError: A region outside of its image; ImageError for an image that cannot be used.
        """
        from segue.inference.matching import match

        return match(self, images, region, names=names, threshold=threshold)

    def zoom(self, answer: Answer) -> Answer:
        """The answer with its small masks drawn again, each in a crop around it at the segmenter's full size.

        Args:
            answer: Of this model, with its pictures; left as it is. Of `match` too: its mark stays.
        """
        from segue.inference.zoom import zoomed

        return zoomed(self, self.image_encoder, answer)

    def ask_many(
        self,
        conversations: Sequence[tuple[Sequence[ImageSource] | ImageSource, str | Sequence[str]]],
        *,
        batch_size: int = BATCH_SIZE,
        **options: Any,
    ) -> list[list[SessionAnswer]]:
        """Ask many conversations, several at a time.

        Args:
            conversations: Pairs of images and a question, or several, of which each sees the answers before
                it. The numbers of images and of questions may differ.
            batch_size: Conversations at a time.
            **options: Those of `GroundingSession.ask`, without `stream`.

        Returns:
            For each conversation its answers, equal to those of a session of its own but for the rounding of
            sums. The first question that fails raises; `segue.inference.batching.ask_together` goes on.
        """
        return ask_many(self, conversations, batch_size=batch_size, **options)
