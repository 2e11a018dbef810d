"""Compose questions and grounded answers about one to three photographs from facts alone.

Only what a small model was measured to learn from such photographs is asked: trousers, coats, dresses and
glasses in the first place; colours and brightness of large areas; never whether there is a bag or jewellery,
never subtypes or numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from segue.mini.photos.answers import (
    PhotoExchange,
    PhotoText,
    absent,
    article,
    be,
    coloured,
    exchange,
    join,
    the,
    wears,
    worn,
)
from segue.mini.photos.facts import PhotoFacts
from segue.mini.photos.questions import Asker

PRESENCE_WEIGHTS: dict[str, float] = {
    **{"trousers": 4, "coat": 4, "dress": 4, "glasses": 4},
    **{"shorts": 1, "tights": 1, "hat": 1, "skirt": 1},
}
COLOUR_WEIGHTS: dict[str, float] = {
    **{"trousers": 4, "hair": 4, "coat": 4, "dress": 3, "top": 1, "skirt": 1, "shoes": 1},
}
SEGMENT_WEIGHTS: dict[str, float] = {
    **{"trousers": 3, "coat": 3, "dress": 3, "hair": 3, "skin": 2, "shoes": 3, "glasses": 2, "top": 2},
    **{"bag": 1, "skirt": 1, "shorts": 1, "tights": 1, "hat": 1},
}
BRIGHTNESS_WEIGHTS: dict[str, float] = {"hair": 4, "trousers": 3, "shoes": 2, "coat": 2, "dress": 2}
LISTED = ("glasses", "coat", "dress", "skirt", "trousers", "shorts")  # top to bottom
LUMINANCE_GAP = 20.0
"""Smallest difference (of 255) that a person sees without hesitation."""
DISCRIMINATIVE = 0.65
"""Share of "who wears X" questions that take X from what exactly one photo shows, where there is any."""

CHOICE = 0.6
"""Share of those questions, where just one photo shows X, that are worded so that they say so."""


@dataclass(frozen=True)
class _Made:
    """An exchange, and what a follow-up may refer to: a label in some images, and what was told of it."""

    exchange: PhotoExchange
    label: str = ""
    images: tuple[int, ...] = ()
    form: Literal["colour", "mask", "worn", "list", ""] = ""


class _Composer(Asker):
    def __init__(self, facts: Sequence[PhotoFacts], rng: np.random.Generator) -> None:
        super().__init__(facts, rng)
        self.all = tuple(range(len(facts)))

    def any_image(self) -> int:
        return int(self.rng.integers(len(self.facts)))

    def having(self, label: str) -> tuple[int, ...]:
        return tuple(k for k in self.all if self.facts[k].has(label))

    def sure(self, label: str, k: int) -> bool:
        """Presence or absence may be told; what annotators often overlook (bags, tops) is never denied."""
        return self.facts[k].has(label) or (label in PRESENCE_WEIGHTS and self.facts[k].lacks(label))

    def certain(self, label: str) -> bool:
        return all(self.sure(label, k) for k in self.all)

    # Templates: each returns None when the facts do not carry it.

    def which_wears(self) -> _Made | None:
        if len(self.facts) == 1:
            return self.wears_yes_no()
        weights = {label: weight for label, weight in PRESENCE_WEIGHTS.items() if self.certain(label)}
        single = {label: weight for label, weight in weights.items() if len(self.having(label)) == 1}
        use_single = bool(single) and self.rng.random() < DISCRIMINATIVE
        label = self.weighted(single if use_single else weights)
        return None if label is None else self._which(label)

    def _which(self, label: str) -> _Made:
        present = self.having(label)
        text = PhotoText()
        join(text, [wears(label, k) for k in present])
        if present:
            text.say(".")
        absent(text, label, [k for k in self.all if k not in present])
        one = len(present) == 1 and self.rng.random() < CHOICE
        template = "which_one" if one else "which_wears"
        made = exchange(self.question(template, label), text, "presence", template)
        return _Made(made, label, present, "worn")

    def wears_yes_no(self) -> _Made | None:
        k = self.any_image()
        facts = self.facts[k]
        label = self.weighted(
            {
                name: weight * (1.0 if facts.has(name) else 0.6)
                for name, weight in PRESENCE_WEIGHTS.items()
                if name not in facts.uncertain
            }
        )
        if label is None:
            return None
        present = facts.has(label)
        text = PhotoText().say("Yes, the person" if present else "No, there")
        if present:
            text.say(f" in image {k + 1} wears {article(label)}").ground(label, k, label).say(".")
        else:
            text.say(f" {be(label)} no {label} in image {k + 1}.")
        made = exchange(self.question("wears_yes_no", label, k), text, "presence", "wears_yes_no")
        return _Made(made, label, (k,) if present else (), "worn")

    def which_wears_two(self) -> _Made | None:
        singles = [x for x in PRESENCE_WEIGHTS if self.certain(x) and len(self.having(x)) == 1]
        pairs = [(a, b) for a in singles for b in singles if a != b and self.having(a) != self.having(b)]
        if not pairs:
            return None
        index = self.weighted(
            {str(i): PRESENCE_WEIGHTS[a] * PRESENCE_WEIGHTS[b] for i, (a, b) in enumerate(pairs)}
        )
        first, second = pairs[int(index or 0)]
        text = PhotoText()
        join(text, [wears(first, self.having(first)[0]), wears(second, self.having(second)[0])])
        text.say(".")
        question = self.question("which_wears_two", first, other=second)
        return _Made(exchange(question, text, "presence", "which_wears_two"))

    def compare_colour(self) -> _Made | None:
        label = self.weighted(
            {x: w for x, w in COLOUR_WEIGHTS.items() if len(self.having(x)) >= 2 and self.certain(x)}
        )
        if label is None:
            return None
        text = self._colours(label)
        made = exchange(self.question("compare_colour", label), text, "comparison", "compare_colour")
        return _Made(made, label, self.having(label), "colour")

    def _colours(self, label: str) -> PhotoText:
        present = self.having(label)
        colours = {k: self.facts[k].labels[label].colour for k in present}
        text = PhotoText()
        if len(set(colours.values())) == 1:
            self._alike(text, label, present)
        else:
            join(text, [coloured(label, k, colours[k]) for k in present])
        text.say(".")
        absent(text, label, [k for k in self.all if k not in present])
        return text

    def _alike(self, text: PhotoText, label: str, images: Sequence[int]) -> None:
        join(text, [the(label, k) for k in images])
        colour = self.facts[images[0]].labels[label].colour
        text.say(f" are {'both' if len(images) == 2 else 'all'} {colour}")

    def same_colour(self) -> _Made | None:
        options = {x: w for x, w in COLOUR_WEIGHTS.items() if len(self.having(x)) == len(self.facts)}
        if len(self.facts) == 3:
            options = {x: w for x, w in options.items() if len({f.labels[x].colour for f in self.facts}) == 2}
        label = self.weighted(options) if len(self.facts) > 1 else None
        if label is None:
            return None
        colours = [facts.labels[label].colour for facts in self.facts]
        text = PhotoText()
        if len(self.facts) == 2:
            template = "same_colour_pair"
            answer = self._colours(label)
            # After "Yes, " the sentence goes on: its first letter loses the capital, the offsets stay.
            answer.text = answer.text[0].lower() + answer.text[1:]
            text.say("Yes, " if colours[0] == colours[1] else "No, ").extend(answer)
        else:
            template = "same_colour_three"
            pair = [k for k in self.all if colours.count(colours[k]) == 2]
            odd = next(k for k in self.all if k not in pair)
            self._alike(text, label, pair)
            text.say(", while ")
            coloured(label, odd, colours[odd])(text)
            text.say(".")
        made = exchange(self.question(template, label), text, "comparison", template)
        return _Made(made, label, self.all, "colour")

    def brightness(self) -> _Made | None:
        darker = bool(self.rng.random() < 0.6)
        options: dict[str, float] = {}
        for name, weight in BRIGHTNESS_WEIGHTS.items():
            order = self._by_luminance(name, darker)
            if len(order) >= 2 and self.certain(name) and self._gap(name, order) > LUMINANCE_GAP:
                options[name] = weight
        label = self.weighted(options)
        if label is None:
            return None
        order = self._by_luminance(label, darker)
        rest = sorted(order[1:])
        comparative = "darker" if darker else "lighter"
        template = comparative if len(order) == 2 else ("darkest" if darker else "lightest")
        text = PhotoText()
        the(label, order[0])(text, capital=True)
        text.say(f" {be(label)} {comparative} than ")
        join(text, [the(label, k) for k in rest], capital=False)
        text.say(".")
        absent(text, label, [k for k in self.all if k not in order])
        made = exchange(self.question(template, label), text, "comparison", template)
        return _Made(made, label, (order[0],), "worn")

    def _by_luminance(self, label: str, darker: bool) -> list[int]:
        sign = 1 if darker else -1
        return sorted(self.having(label), key=lambda k: sign * self.facts[k].labels[label].luminance)

    def _gap(self, label: str, order: Sequence[int]) -> float:
        values = [self.facts[k].labels[label].luminance for k in order]
        return abs(values[0] - values[1])

    def colour_of(self) -> _Made | None:
        k = self.any_image()
        label = self.weighted({x: w for x, w in COLOUR_WEIGHTS.items() if self.facts[k].has(x)})
        if label is None:
            return None
        return self._colour_answer(label, k, self.question("colour_of", label, k), "colour_of")

    def _colour_answer(self, label: str, k: int, question: str, template: str) -> _Made:
        text = PhotoText()
        if self.facts[k].has(label):
            text.say("The ").ground(label, k, label)
            text.say(f" of the person in image {k + 1} {be(label)} {self.facts[k].labels[label].colour}.")
        else:
            absent(text, label, [k])
        made = exchange(question, text, "attribute", template)
        return _Made(made, label, (k,) if text.spans else (), "colour")

    def segment(self) -> _Made | None:
        k = self.any_image()
        facts = self.facts[k]
        if self.rng.random() < 0.12:  # what is asked for is not there
            label = self.weighted({x: w for x, w in PRESENCE_WEIGHTS.items() if facts.lacks(x)})
        else:
            label = self.weighted({x: w for x, w in SEGMENT_WEIGHTS.items() if facts.has(x)})
        if label is None:
            return None
        return self._mask_answer(label, k, self.question("segment", label, k), "segment")

    def _mask_answer(
        self, label: str, k: int, question: str, template: str, whose: str = "the person"
    ) -> _Made:
        text = PhotoText()
        if self.facts[k].has(label):
            text.say(f"Here {be(label)} the ").ground(label, k, label)
            text.say(f" in image {k + 1}." if label == "person" else f" of {whose} in image {k + 1}.")
        else:
            absent(text, label, [k])
        made = exchange(question, text, "location", template, needs_images=not text.spans)
        return _Made(made, label, (k,) if text.spans else (), "mask")

    def find_person(self) -> _Made | None:
        if not all(facts.has("person") for facts in self.facts):
            return None
        if len(self.facts) == 1 or self.rng.random() < 0.3:
            k = self.any_image()
            return self._mask_answer(
                "person", k, self.question("find_person_single", k=k), "find_person_single"
            )
        text = PhotoText().say("Here are ")
        join(text, [the("person", k) for k in self.all], capital=False)
        text.say(".")
        made = exchange(self.question("find_person"), text, "location", "find_person", needs_images=False)
        return _Made(made)

    def wears_what(self) -> _Made | None:
        k = self.any_image()
        return self._list_answer(k, self.question("wears_what", k=k), "wears_what")

    def _list_answer(self, k: int, question: str, template: str) -> _Made | None:
        facts = self.facts[k]
        listed = [label for label in LISTED if facts.has(label)][:4]
        if not listed or any(label in facts.uncertain for label in LISTED):
            return None
        text = PhotoText().say(f"The person in image {k + 1} wears ")
        join(text, [worn(label, k) for label in listed], capital=False)
        text.say(".")
        return _Made(exchange(question, text, "presence", template), "", (k,), "list")

    # Follow-ups rest on what was told before.

    def follow_up(self, before: _Made) -> _Made | None:
        options = {
            "then_colour": 3.0 if before.form in ("worn", "mask") and before.label in COLOUR_WEIGHTS else 0.0,
            "then_image": 3.0
            if len(before.images) == 1 and before.form in ("colour", "mask", "list")
            else 0.0,
            "then_label": 3.0 if len(before.images) == 1 else 0.0,
            "then_person": 1.0 if len(before.images) == 1 and before.label != "person" else 0.0,
        }
        template = self.weighted(options)
        if template is None or not before.images:
            return None
        made: _Made | None = getattr(self, f"_{template}")(before)
        return None if made is None else replace(made, exchange=replace(made.exchange, is_follow_up=True))

    def _then_colour(self, before: _Made) -> _Made | None:
        question = self.question("then_colour", before.label)
        if len(before.images) == 1:
            return self._colour_answer(before.label, before.images[0], question, "then_colour")
        text = PhotoText()
        colours = [self.facts[k].labels[before.label].colour for k in before.images]
        if len(set(colours)) == 1:
            self._alike(text, before.label, before.images)
        else:
            join(text, [coloured(before.label, k, c) for k, c in zip(before.images, colours, strict=True)])
        text.say(".")
        made = exchange(question, text, "attribute", "then_colour")
        return _Made(made, before.label, before.images, "colour")

    def _then_image(self, before: _Made) -> _Made | None:
        others = [k for k in self.all if k not in before.images]
        if not others:
            return None
        k = others[int(self.rng.integers(len(others)))]
        if before.label and not self.sure(before.label, k):
            return None
        question = self.question("then_image", k=k)
        if before.form == "list":
            return self._list_answer(k, question, "then_image")
        answer = self._colour_answer if before.form == "colour" else self._mask_answer
        return answer(before.label, k, question, "then_image")

    def _then_label(self, before: _Made) -> _Made | None:
        k = before.images[0]
        weights = COLOUR_WEIGHTS if before.form == "colour" else SEGMENT_WEIGHTS
        label = self.weighted(
            {x: w for x, w in {**weights, "shoes": 4}.items() if x != before.label and self.facts[k].has(x)}
        )
        if label is None:
            return None
        question = self.question("then_label", label, named=label)
        if before.form == "colour":
            return self._colour_answer(label, k, question, "then_label")
        return self._mask_answer(label, k, question, "then_label", whose="that person")

    def _then_person(self, before: _Made) -> _Made | None:
        k = before.images[0]
        if not self.facts[k].has("person"):
            return None
        return self._mask_answer("person", k, self.question("then_person"), "then_person")


_TEMPLATES: dict[str, tuple[float, Callable[[_Composer], _Made | None]]] = {
    "which_wears": (6, _Composer.which_wears),
    "wears_yes_no": (1, _Composer.wears_yes_no),
    "which_wears_two": (2, _Composer.which_wears_two),
    "compare_colour": (3, _Composer.compare_colour),
    "same_colour": (1.5, _Composer.same_colour),
    "brightness": (2, _Composer.brightness),
    "colour_of": (3, _Composer.colour_of),
    "segment": (4, _Composer.segment),
    "find_person": (1, _Composer.find_person),
    "wears_what": (3, _Composer.wears_what),
}
_TURN_WEIGHTS = {"1": 0.35, "2": 0.4, "3": 0.25}


def compose_photo_dialogue(
    facts_per_image: Sequence[PhotoFacts], rng: np.random.Generator, num_turns: int | None = None
) -> list[PhotoExchange]:
    """Compose a conversation about photographs.

    Args:
        facts_per_image: Facts of 1 to 9 photos, in the order in which they are shown.
        rng: Source of every choice; the same state gives the same conversation.
        num_turns: Number of exchanges; by default 1 to 3. Fewer when the facts carry no more.

    Returns:
        Exchanges in order. No question is asked twice. Needs no pixels.

    Source: answerable questions by measurement on such photographs; paper silent; ours.
    """
    composer = _Composer(facts_per_image, rng)
    wanted = num_turns if num_turns is not None else int(composer.weighted(_TURN_WEIGHTS) or 1)
    exchanges: list[PhotoExchange] = []
    answers: set[str] = set()
    before: _Made | None = None
    for _ in range(8 * wanted):
        if len(exchanges) == wanted:
            break
        made = composer.follow_up(before) if before is not None and rng.random() < 0.6 else None
        if made is None:
            made = _TEMPLATES[
                composer.weighted({name: entry[0] for name, entry in _TEMPLATES.items()}) or ""
            ][1](composer)
        if made is None or made.exchange.answer in answers:
            continue
        exchanges.append(made.exchange)
        answers.add(made.exchange.answer)
        before = made
    return exchanges
