"""Where a dialogue goes when one thing is left: to another thing, to a part, or to an aside about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from segue.data.language import english
from segue.data.language.grounded_text import RegionText
from segue.datasets.prist.offline import wordings as w
from segue.datasets.prist.offline.clues import clues_for
from segue.datasets.prist.offline.facts import CLEAR, Entity
from segue.datasets.prist.offline.lexicon import part_purposes_of
from segue.datasets.prist.offline.telling import (
    MOST_LISTED,
    MOST_THOUGHTS,
    UNNAMED_SHARE,
    Telling,
    as_sentence,
)

_NEAR_RATIO = 1.4
_SIZE_RATIO = 1.35


class Moves(Telling):
    """A dialogue that can move on."""

    def move_on(self) -> bool:
        """One more exchange about the one thing that is left; False when there is nothing to say."""
        changing = [self._other, self._closest, self._beside, self._part_by_purpose, self._part_by_clue]
        asides = [self._colour, self._side, self._largest, self._others, self._visible_parts]
        moves: list[Callable[[], bool]] = [*changing, *asides]
        weights = [2.0, 1.5, 1.0, 3.0, 2.0, 1.0, 0.8, 0.6, 0.6, 1.0]
        full = len(self.talk.thoughts) >= MOST_THOUGHTS
        # A weighted shuffle: keys u ** (1 / w) of uniform u, the highest first, draw without replacement by
        # weight (Efraimidis and Spirakis, 2006).
        order = sorted(zip(moves, weights), key=lambda pair: -(self.rng.random() ** (1 / pair[1])))
        # Moves to another thing cost a thought; when the tree is deep enough, only asides are left.
        return any(move() for move, _ in order if not (full and move in changing))

    def _change(self, question: str, entity: Entity, step: str, thought: str, forms: Sequence[str]) -> bool:
        """Go on to another thing."""
        if entity.index not in self.facts.phrases:
            return False
        unnamed = w.PART_UNNAMED if entity.owner is not None else w.MOVED_UNNAMED
        unnamed = w.OTHER_UNNAMED if step == "other" else unnamed
        if self.rng.random() < UNNAMED_SHARE:
            answer = RegionText().say(self.pick(unnamed))
        else:
            answer = self._listing(forms, [entity])
        self._add(question, answer, step)
        self.before, self.current = [], [entity]
        self.talk.thoughts.append(f"{thought}: {self._plain([entity])}.")
        return True

    def _other(self) -> bool:
        rest = [e for e in self.before if e is not self.one]
        # "The other one" needs exactly one other.
        if len(self.before) != 2 or len(rest) != 1:
            return False
        return self._change(self.pick(w.ASK_OTHER), rest[0], "other", "It is the other of the two", w.OTHER)

    def _closest(self) -> bool:
        if self.one.owner is not None or not self.facts.is_closed:
            return False
        others = sorted((e for e in self.facts.objects if e is not self.one), key=self._distance)
        if len(others) < 2 or self._distance(others[0]) * _NEAR_RATIO > self._distance(others[1]):
            return False
        question = self.pick(w.ASK_CLOSEST).format(**self._it())
        return self._change(question, others[0], "closest", "The thing closest to it counts", w.LEFT_ONE)

    def _beside(self) -> bool:
        if self.one.owner is not None or not self.facts.is_closed:
            return False
        side = self.rng.choice(("left", "right"))
        sign = -1 if side == "left" else 1
        shifts = [
            (sign * (e.center[0] - self.one.center[0]), e) for e in self.facts.objects if e is not self.one
        ]
        # Somebody right above or below is on neither side.
        if any(abs(shift) < CLEAR for shift, _ in shifts):
            return False
        there = sorted((e for shift, e in shifts if shift > 0), key=self._distance)
        if not there or (
            len(there) > 1 and self._distance(there[0]) * _NEAR_RATIO > self._distance(there[1])
        ):
            return False
        question = self.pick(w.ASK_BESIDE).format(side=side, **self._it())
        return self._change(
            question, there[0], "beside", f"The nearest thing to its {side} counts", w.LEFT_ONE
        )

    def _part_by_purpose(self) -> bool:
        if self.one.owner is not None:
            return False
        options = [
            (part, purpose)
            for part in self.facts.parts_of(self.one)
            for purpose in part_purposes_of(self.one.noun, part.noun)
            if part.index in self.facts.phrases
        ]
        if not options:
            return False
        part, purpose = self.rng.choice(options)
        question = self.pick(w.ASK_PURPOSE).format(purpose=purpose, **self._it())
        return self._change(question, part, "part by purpose", "One of its parts counts", w.LEFT_ONE)

    def _part_by_clue(self) -> bool:
        parts = [] if self.one.owner is not None else list(self.facts.parts_of(self.one))
        if len(parts) < 2:
            return False
        part = self.rng.choice(parts)
        # Only "the largest" and the like keep exactly one part, which the answer then names.
        clues = [c for c in clues_for(part, parts, self.facts) if c.superlative]
        if not clues:
            return False
        clue = self.rng.choice(clues)
        question = self.pick(w.PARTS_BEST).format(one=clue.one, **self._it())
        return self._change(question, part, "part by clue", "One of its parts counts", w.LEFT_ONE)

    def _colour(self) -> bool:
        # "It is red" after "that leaves the red mug" would be idle; only where nobody has said it.
        said = " ".join(e.answer.text + e.question for e in self.talk.exchanges[-2:])
        if not self.one.colour or "colour" in self.used or self.one.colour in said:
            return False
        self.used.add("colour")
        answer = self.pick(w.COLOUR).format(colour=self.one.colour, **self._it())
        return self._add(
            self.pick(w.ASK_COLOUR).format(**self._it()), RegionText().say(as_sentence(answer)), "colour"
        )

    def _side(self) -> bool:
        if abs(self.one.center[0] - 0.5) < CLEAR or "side" in self.used:
            return False
        self.used.add("side")
        side = "left" if self.one.center[0] < 0.5 else "right"
        answer = self.pick(w.SIDE).format(side=side, **self._it())
        return self._add(self.pick(w.ASK_SIDE).format(**self._it()), RegionText().say(answer), "side")

    def _largest(self) -> bool:
        others = [e.area for e in self.facts.objects if e is not self.one]
        if self.one.owner is not None or not others or not self.facts.is_closed or "largest" in self.used:
            return False
        if self.one.area >= _SIZE_RATIO * max(others):
            forms = w.LARGEST
        elif self.one.area * _SIZE_RATIO <= max(others):
            forms = w.NOT_LARGEST
        else:
            return False
        self.used.add("largest")
        answer = self.pick(forms).format(s="" if self.one.is_plural else "s", **self._it())
        return self._add(self.pick(w.ASK_LARGEST).format(**self._it()), RegionText().say(answer), "largest")

    def _others(self) -> bool:
        noun = self.one.noun
        if self.one.owner is not None or not english.is_countable(noun) or "others" in self.used:
            return False
        self.used.add("others")
        count = len(self.facts.same_noun(self.one))
        # The question must not say what kind of thing it is where that would tell the target.
        forms = w.ASK_OTHERS[:1] if count == 1 else w.ASK_OTHERS
        question = self.pick(forms).format(x=noun, xs=english.plural(noun), **self._it())
        answer = self.pick(w.ONLY_ONE if count == 1 else w.THERE_ARE).format(n=english.number(count))
        return self._add(question, RegionText().say(as_sentence(answer)), "others")

    def _visible_parts(self) -> bool:
        parts = () if self.one.owner is not None else self.facts.parts_of(self.one)
        names = [part.noun for part in parts]
        if not 1 < len(parts) <= MOST_LISTED or len(set(names)) < len(names) or "parts" in self.used:
            return False
        self.used.add("parts")
        answer = RegionText()
        before, _, after = self.pick(w.PARTS).partition("{list}")
        answer.say(before).join([self._grounder(answer, "the ", p.noun, [p]) for p in parts]).say(after)
        answer.capitalize()
        return self._add(self.pick(w.ASK_PARTS).format(**self._it()), answer, "parts")
