"""Compose questions and grounded answers about one to three images from annotated names and masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np

from segue.data.language.grounded_text import RegionText
from segue.data.language.image_names import IMAGE_NAMES, image_name
from segue.data.own.statements import Statements
from segue.data.own.things import Catalogue, Inventory, Thing
from segue.data.own.wordings import ALL_WORDS, ONLY_IMAGE_WORDS, WORDINGS
from segue.records import TurnMeta

TURN_SHARES = (0.4, 0.35, 0.25)
"""Share of conversations of one, two and three exchanges."""
FOLLOW_UP_SHARE = 0.6
ABSENT_SHARE = 0.2
"""Share of questions about one image that ask for something that is not there."""
SIZE_RATIO = 1.3
WEIGHTS: dict[str, float] = {
    **{"find": 4, "find_two": 2, "find_each": 2.5, "what": 2, "which": 3, "yes_no": 1.5},
    **{"compare": 2, "larger": 1.5, "parts": 2.5, "count": 1.5, "count_all": 1},
}
_TRIES = 12
_T = TypeVar("_T")

Kind = Literal["location", "presence", "comparison", "numerical"]
KINDS: dict[str, Kind] = {
    **{"find": "location", "find_two": "location", "find_each": "location", "parts": "location"},
    **{"what": "presence", "which": "presence", "yes_no": "presence"},
    **{"compare": "comparison", "larger": "comparison", "count": "numerical", "count_all": "numerical"},
}


@dataclass(frozen=True)
class OwnExchange:
    """A question and its answer.

    Attributes:
        question: What the user asks.
        answer: The answer with its grounded phrases.
        template: Name in `WORDINGS`.
        subject: Template that says what the answer is like; differs from `template` in follow-ups.
        thing: What it is about, if one thing.
        image_index: Which image it is about, if one.
        is_follow_up: The question makes sense only after the turn before.
    """

    question: str
    answer: RegionText
    template: str
    subject: str
    thing: Thing | None = None
    image_index: int | None = None
    is_follow_up: bool = False

    def described(self) -> TurnMeta:
        """The entry in a record's `meta["turns"]`."""
        spans = self.answer.spans
        parts_only = bool(spans) and all(r.kind == "part" for span in spans for r in span.payload)
        return {
            "kind": KINDS[self.subject],
            "level": "part" if parts_only else "object",
            # "Segment the mug in image 1" names what the answer will name. Only that there is none must be
            # seen.
            "needs_images": self.subject not in ("find", "find_two") or not spans,
            "template": self.template,
            "is_follow_up": self.is_follow_up,
        }


def compose(
    images: Sequence[Inventory],
    catalogue: Catalogue,
    rng: np.random.Generator,
    num_exchanges: int | None = None,
) -> list[OwnExchange]:
    """Compose a dialogue about a set of images.

    Args:
        images: The images, in the order in which the text numbers them.
        catalogue: The whole data set: what could be asked for though it is not there.
        rng: Source of every choice.
        num_exchanges: By default 1 to 3 (`TURN_SHARES`).

    Returns:
        The exchanges, no two with one answer; fewer where the images carry no more, none where they carry
        nothing.

    Source: paper silent; ours.
    """
    if num_exchanges is None:
        num_exchanges = _of_shares(TURN_SHARES, rng)
    composer = _Composer(images, catalogue, rng)
    exchanges: list[OwnExchange] = []
    for _ in range(_TRIES):
        if len(exchanges) == num_exchanges:
            break
        made = None
        if exchanges and rng.random() < FOLLOW_UP_SHARE:
            made = composer.follow_up(exchanges[-1])
        made = made or composer.question()
        if made is not None and all(made.answer.text != earlier.answer.text for earlier in exchanges):
            exchanges.append(made)
    return exchanges


def _of_shares(shares: Sequence[float], rng: np.random.Generator) -> int:
    # Shares (0.4, 0.35, 0.25) have the borders 0.4 and 0.75: a chance of 0.5 lies behind one of them and
    # gives 2.
    return 1 + int(np.searchsorted(np.cumsum(shares)[:-1], rng.random(), side="right"))


class _Composer:
    """Every random choice of one dialogue."""

    def __init__(self, images: Sequence[Inventory], catalogue: Catalogue, rng: np.random.Generator) -> None:
        self.images, self.catalogue, self.rng = images, catalogue, rng
        self.say = Statements(images)
        self.all = self.say.all

    # Choices.

    def pick(self, options: Sequence[_T]) -> _T:
        return options[int(self.rng.integers(len(options)))]

    def question(self) -> OwnExchange | None:
        """A question that stands alone."""
        several = ("find_each", "which", "compare", "larger", "count_all")
        allowed = [name for name in WEIGHTS if len(self.images) > 1 or name not in several]
        weights = np.array([WEIGHTS[name] for name in allowed])
        # "Image 1 shows a car." teaches little where the data knows nothing but cars.
        weights[allowed.index("what")] *= min(1.0, self.catalogue.object_names / 4)
        for _ in range(_TRIES):
            name = allowed[int(self.rng.choice(len(allowed), p=weights / weights.sum()))]
            template: Callable[[], OwnExchange | None] = getattr(self, f"ask_{name}")
            made = template()
            if made is not None:
                return made
        return None

    def thing_in(self, k: int) -> Thing | None:
        """Something in this image; sometimes something that is only found in other images."""
        inventory = self.images[k]
        if self.rng.random() < ABSENT_SHARE:
            other = (
                self.pick(self.images) if self.rng.random() < 0.5 else self.pick(self.catalogue.inventories)
            )
            missing = [t for t in other.things if not inventory.has(t) and inventory.knows(t)]
            if missing:
                return self.pick(missing)
        return self.pick(inventory.things) if inventory.things else None

    def shared_thing(self, least: int, allowed: Callable[[Thing], bool] = lambda _: True) -> Thing | None:
        """Something whose presence is known in every image, and that at least `least` images show.

        Where there is a choice, half of the time one that some image lacks: it tells the images apart.
        """
        candidates = sorted({thing for inventory in self.images for thing in inventory.things})
        candidates = [
            thing
            for thing in candidates
            if allowed(thing)
            and len(self.say.having(thing)) >= least
            and all(inventory.knows(thing) for inventory in self.images)
        ]
        telling = [thing for thing in candidates if self.say.lacking(thing)]
        if telling and self.rng.random() < 0.5:
            candidates = telling
        return self.pick(candidates) if candidates else None

    # Questions that stand alone. Each returns None where the images do not carry it.

    def ask_find(self) -> OwnExchange | None:
        k = self.pick(self.all)
        thing = self.thing_in(k)
        return None if thing is None else self.answer_find(thing, k, "find")

    def answer_find(self, thing: Thing, k: int, template: str) -> OwnExchange:
        text = RegionText()
        self.say.here(text, [thing], k)
        return self.exchange(text, template, "find", thing, k)

    def ask_find_two(self) -> OwnExchange | None:
        k = self.pick(self.all)
        first, second = self.thing_in(k), self.thing_in(k)
        if first is None or second is None or first == second:
            return None
        text = RegionText()
        self.say.here(text, [first, second], k)
        return self.exchange(text, "find_two", "find_two", first, k, other=second)

    def ask_find_each(self) -> OwnExchange | None:
        thing = self.shared_thing(1)
        if thing is None:
            return None
        text = RegionText()
        self.say.here_in_each(text, thing)
        return self.exchange(text, "find_each", "find_each", thing)

    def ask_what(self) -> OwnExchange | None:
        return self.answer_what(self.pick(self.all), "what")

    def answer_what(self, k: int, template: str) -> OwnExchange | None:
        if not self.images[k].objects:
            return None
        text = RegionText()
        self.say.shows(text, k)
        return self.exchange(text, template, "what", None, k)

    def ask_which(self) -> OwnExchange | None:
        thing = self.shared_thing(1)
        if thing is None:
            return None
        text = RegionText()
        self.say.exists(text, thing)
        return self.exchange(text, "which", "which", thing)

    def ask_yes_no(self) -> OwnExchange | None:
        k = self.pick(self.all)
        thing = self.thing_in(k)
        return None if thing is None else self.answer_yes_no(thing, k, "yes_no")

    def answer_yes_no(self, thing: Thing, k: int, template: str) -> OwnExchange:
        text = RegionText()
        if self.images[k].has(thing):
            self.say.exists(text, thing, lead="Yes, ", k=k)
        else:
            self.say.absent(text, thing, [k], lead="No, ")
        return self.exchange(text, template, "yes_no", thing, k)

    def ask_compare(self) -> OwnExchange | None:
        thing = self.shared_thing(2)
        if thing is None:
            return None
        counts = {self.images[k].count(thing) for k in self.say.having(thing)}
        text = RegionText()
        # Several in some image: their numbers are compared. One in each: their sizes.
        if counts != {1}:
            if thing not in self.catalogue.counted:
                return None
            self.say.exists(text, thing, counted=True)
        elif not self.say.sizes(text, thing, SIZE_RATIO):
            return None
        return self.exchange(text, "compare", "compare", thing)

    def ask_larger(self) -> OwnExchange | None:
        thing = self.shared_thing(2, lambda t: all(inventory.count(t) <= 1 for inventory in self.images))
        text = RegionText()
        if thing is None or not self.say.sizes(text, thing, SIZE_RATIO):
            return None
        return self.exchange(text, "larger", "larger", thing)

    def ask_parts(self) -> OwnExchange | None:
        k = self.pick(self.all)
        owners = [thing for thing in self.images[k].objects if self.images[k].parts_of(thing)]
        return self.answer_parts(self.pick(owners), k, "parts") if owners else None

    def answer_parts(self, owner: Thing, k: int, template: str) -> OwnExchange | None:
        if not self.images[k].parts_of(owner):
            return None
        text = RegionText()
        self.say.parts(text, owner, k)
        return self.exchange(text, template, "parts", owner, k)

    def ask_count(self) -> OwnExchange | None:
        k = self.pick(self.all)
        thing = self.thing_in(k)
        return None if thing is None else self.answer_count(thing, k, "count")

    def answer_count(self, thing: Thing, k: int, template: str) -> OwnExchange | None:
        if thing not in self.catalogue.counted or not self.images[k].is_complete(thing):
            return None
        text = RegionText()
        self.say.exists(text, thing, counted=True, k=k)
        return self.exchange(text, template, "count", thing, k)

    def ask_count_all(self) -> OwnExchange | None:
        thing = self.shared_thing(1, lambda t: t in self.catalogue.counted)
        if thing is None:
            return None
        text = RegionText()
        self.say.total(text, thing)
        return self.exchange(text, "count_all", "count_all", thing)

    # Follow-ups.

    def follow_up(self, before: OwnExchange) -> OwnExchange | None:
        """A question that refers back to the turn before; None where nothing fits."""
        options: list[OwnExchange | None] = []
        thing, k = before.thing, before.image_index
        others = [other for other in self.all if other != k]
        # Of two things `thing` is the first one alone.
        if k is not None and others and before.subject != "find_two":
            options.append(self._same_elsewhere(before, self.pick(others)))
        if (
            thing is not None
            and k is not None
            and before.subject in ("find", "yes_no")
            and before.answer.spans
        ):
            if not thing.owner:
                options.append(self.answer_parts(thing, k, "then_parts"))
            another = self.thing_in(k)
            if before.subject == "find" and another is not None and another != thing:
                options.append(self.answer_find(another, k, "then_thing"))
        made = [option for option in options if option is not None]
        return replace(self.pick(made), is_follow_up=True) if made else None

    def _same_elsewhere(self, before: OwnExchange, k: int) -> OwnExchange | None:
        if before.subject == "what":
            return self.answer_what(k, "then_image")
        thing = before.thing
        if thing is None or not self.images[k].knows(thing):
            return None
        if before.subject == "parts":
            return self.answer_parts(thing, k, "then_image")
        if before.subject == "yes_no":
            return self.answer_yes_no(thing, k, "then_image")
        if before.subject == "count":
            return self.answer_count(thing, k, "then_image")
        return self.answer_find(thing, k, "then_image")

    # Wording.

    def exchange(
        self,
        text: RegionText,
        template: str,
        subject: str,
        thing: Thing | None = None,
        k: int | None = None,
        *,
        other: Thing | None = None,
    ) -> OwnExchange:
        question = self.pick(WORDINGS[template]).format(
            **self._named(thing, k), the_y=self._the(other, k), k=self._image(k), all=self._all_images()
        )
        return OwnExchange(self._typed(question), text, template, subject, thing, k)

    def _named(self, thing: Thing | None, k: int | None) -> dict[str, str]:
        """The fields that name a thing and agree with it."""
        if thing is None:
            return {}
        # `larger` and the like speak of one in each image; elsewhere the number is that of the image.
        # What is not there is asked for in the singular.
        count = max(1, self.images[k].count(thing)) if k is not None else 1
        many = thing.takes_are(count)
        is_a = "are" if thing.takes_are(1) else "is"
        return {
            "x": thing.phrase(count),
            "the_x": self._the(thing, k),
            "a_x": thing.indefinite(),
            "xs": thing.phrase(2, 2),
            "is_x": "are" if many else "is",
            "does_x": "do" if many else "does",
            "is_a": is_a,
            "Is_a": is_a.capitalize(),
            "it": "them" if many else "it",
            "its": "their" if many else "its",
        }

    def _the(self, thing: Thing | None, k: int | None) -> str:
        """`the cup`, `the car's wheels` or `the wheels of the car`, in the number of the image."""
        if thing is None:
            return ""
        inventory = None if k is None else self.images[k]
        count = max(1, inventory.count(thing)) if inventory else 1
        owners = inventory.owners(thing) if inventory else 1
        form = thing.of if self.rng.random() < 0.4 else thing.phrase
        return f"the {form(count, owners)}"

    def _image(self, k: int | None) -> str:
        if k is None:
            return ""
        words = IMAGE_NAMES if len(self.images) > 1 else ONLY_IMAGE_WORDS
        return image_name(self.pick(words), k)

    def _all_images(self) -> str:
        return self.pick((*ALL_WORDS, "both images", "both photos") if len(self.images) == 2 else ALL_WORDS)

    def _typed(self, question: str) -> str:
        """As people type: now and then without a capital or without the last mark."""
        if self.rng.random() < 0.15:
            question = question[0].lower() + question[1:]
        return question.rstrip(".?") if self.rng.random() < 0.12 else question
