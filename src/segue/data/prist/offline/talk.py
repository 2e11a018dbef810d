"""Composes a dialogue that ends in one thing, which its last request does not name.

A dialogue has a *current set*: all things of the picture at first, fewer with every clue, then one; from
there it may move on ("the other one", "what is closest to it?", "which part of it ...?"). What the last
request means follows from these steps, and from nothing else.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from segue.data.own import english
from segue.data.own.grounded_text import GroundedText
from segue.data.prist.offline import wordings as w
from segue.data.prist.offline.clues import Clue, clues_for
from segue.data.prist.offline.facts import CLEAR, Entity, PictureFacts
from segue.data.prist.offline.lexicon import COLOUR_NAMES, part_purposes_of
from segue.data.prist.rules import words_of

_MOST_THOUGHTS = 5
_MOST_LISTED = 6
_NEAR_RATIO = 1.4
_SIZE_RATIO = 1.35
_UNNAMED_SHARE = 0.45
"""Share of single answers that do not name what is left, so that only the history tells."""


@dataclass(frozen=True)
class Exchange:
    """A question, its answer with the regions that it names, and which step it is."""

    question: str
    answer: GroundedText
    step: str


@dataclass
class Talk:
    """A finished dialogue without its last turn.

    Attributes:
        exchanges: In order.
        thoughts: The steps of reasoning, without asides.
        target: What the last request means.
        focus: Its phrase, without article.
        named: Whether an answer has named it.
    """

    exchanges: list[Exchange] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    target: Entity | None = None
    focus: str = ""

    @property
    def named(self) -> bool:
        """Whether some answer names the target."""
        return any(words_of(self.focus) <= words_of(e.answer.text) for e in self.exchanges)


def compose(facts: PictureFacts, rng: random.Random, rounds: int, absent: Sequence[str] = ()) -> Talk | None:
    """One dialogue about a picture, or None where this attempt leads nowhere.

    Args:
        facts: Of the picture.
        rng: Source of every choice.
        rounds: Exchanges wished for, 2 or more; fewer, but 2, may come back when nothing more can be said.
        absent: Nouns that may be asked for and are known not to be there.

    Source: PRIST for the idea of narrowing; paper silent on rules, ours.
    """
    return _Composer(facts, rng, rounds, absent).run()


class _Composer:
    """The state of a dialogue while it grows."""

    def __init__(self, facts: PictureFacts, rng: random.Random, rounds: int, absent: Sequence[str]) -> None:
        self.facts, self.rng, self.rounds, self.absent = facts, rng, rounds, list(absent)
        self.talk = Talk()
        self.current: list[Entity] = list(facts.objects)
        self.before: list[Entity] = []
        self.used: set[str] = set()

    def run(self) -> Talk | None:
        """Open, narrow down to one thing, and move on until the dialogue is long enough."""
        nameable = [e for e in self.facts.objects if e.index in self.facts.phrases]
        if not nameable:
            return None
        target = self.rng.choice(nameable)
        if not self._open(target) or not self._narrow(target):
            return None
        while len(self.talk.exchanges) < self.rounds and self._move():
            pass
        if len(self.talk.exchanges) < 2:
            return None
        return self._finished()

    def _finished(self) -> Talk | None:
        """The dialogue, unless a question gives the target away."""
        [target] = self.current
        self.talk.target, self.talk.focus = target, self.facts.phrases[target.index]
        meaning = words_of(self.talk.focus)
        if any(meaning <= words_of(e.question) for e in self.talk.exchanges):
            return None
        return self.talk

    # ---- the beginning -------------------------------------------------------------------------------------

    def _open(self, target: Entity) -> bool:
        """Asides before the first clue, and a first set; False where the picture allows no beginning."""
        same = self.facts.same_noun(target)
        several = len(same) > 1 and english.is_countable(target.noun)
        spare = self.rounds - 2
        if spare > 0 and self.absent and self.rng.random() < 0.2:
            self._ask_absent()
            spare -= 1
        if not self.facts.is_closed or (several and self.rng.random() < 0.5):
            return several and self._ask_several(target, same)
        if len(self.current) > _MOST_LISTED:
            return True
        if len(self.current) == 1 or (spare > 0 and self.rng.random() < 0.35):
            self._add(self.pick(w.LOOK), self._listing(w.LOOKED, self.current, definite=False), "look")
            if len(self.current) == 1:
                self.talk.thoughts.append("There is only one thing.")
        return True

    def _ask_absent(self) -> None:
        noun = self.rng.choice(self.absent)
        a_x = noun if not english.is_countable(noun) else f"{english.article(noun)} {noun}"
        answer = GroundedText().say(self.pick(w.ABSENT).format(x=noun))
        self._add(self.pick(w.ASK_ABSENT).format(a_x=a_x), answer, "absent")

    def _ask_several(self, target: Entity, same: Sequence[Entity]) -> bool:
        """Ask for a thing of which there are several, and be asked back."""
        noun, plural = target.noun, english.plural(target.noun)
        self.before, self.current = self.current, list(same)
        fields = {"n": english.number(len(same)), "x": noun, "xs": plural}
        question = self.pick(w.ASK_SEVERAL).format(x=noun)
        can_list = all(e.index in self.facts.phrases for e in same) and len(same) <= _MOST_LISTED
        forms = [form for form in w.SEVERAL if can_list or "{list}" not in form]
        self._add(question, self._listing(forms, same, fields), "ambiguous")
        self.talk.thoughts.append(f"There are {fields['n']} {plural}, so one has to be told from the others.")
        return True

    # ---- narrowing -----------------------------------------------------------------------------------------

    def _narrow(self, target: Entity) -> bool:
        """Give clues until only the target is left."""
        steps = self.rng.choice((1, 2, 2, 3))
        while len(self.current) > 1:
            room = self.rounds - len(self.talk.exchanges)
            steps = min(steps, max(1, room), _MOST_THOUGHTS - len(self.talk.thoughts))
            options = [c for c in clues_for(target, self.current, self.facts) if c.one not in self.used]
            last = [c for c in options if len(c.kept) == 1]
            more = [c for c in options if len(c.kept) > 1]
            chosen = (more if steps > 1 else last) or (last or more)
            if not chosen or len(self.talk.thoughts) >= _MOST_THOUGHTS:
                return False
            if steps > 1 and self.rng.random() < 0.12 and self._ask_none():
                continue
            self._give(self._one_of_kinds(chosen))
            steps -= 1
        return True

    def _one_of_kinds(self, clues: Sequence[Clue]) -> Clue:
        """A clue, each kind of clue being as likely as any other."""
        kinds = sorted({clue.kind for clue in clues})
        kind = self.rng.choice(kinds)
        return self.rng.choice([clue for clue in clues if clue.kind == kind])

    def _give(self, clue: Clue) -> None:
        """One clue and what it leaves."""
        first = not self.talk.thoughts and len(self.current) == len(self.facts.objects)
        forms = (w.FIRST_BEST if clue.superlative else w.FIRST) if first else (
            w.NEXT_BEST if clue.superlative else w.NEXT
        )  # fmt: skip
        self._settle(self.pick(forms).format(one=clue.one, many=clue.many), clue, clue.kind)

    def _settle(self, question: str, clue: Clue, step: str) -> None:
        kept = [e for e in self.current if e.index in clue.kept]
        self._add(question, self._left(kept), step)
        self.before, self.current = self.current, kept
        self.used.add(clue.one)
        said = f"Only one of them {clue.one}" if len(kept) == 1 else f"Some of them {clue.many}"
        self.talk.thoughts.append(f"{said}: {self._plain(kept)}.")

    def _left(self, kept: Sequence[Entity]) -> GroundedText:
        """The answer to a clue."""
        if len(kept) == 1:
            if self.rng.random() < _UNNAMED_SHARE:
                return GroundedText().say(self.pick(w.LEFT_ONE_UNNAMED))
            return self._listing(w.LEFT_ONE, kept)
        n = english.number(len(kept))
        if len(kept) > _MOST_LISTED or self.rng.random() < 0.3:
            return GroundedText().say(_sentence(self.pick(w.LEFT_COUNT).format(n=n)))
        return self._listing(w.LEFT_SEVERAL, kept, {"n": n})

    def _ask_none(self) -> bool:
        """Ask for a colour that none of them has."""
        if len(self.talk.exchanges) >= self.rounds - 1 or not all(e.colour for e in self.current):
            return False
        missing = sorted(COLOUR_NAMES - {e.colour for e in self.current})
        if not missing or len(self.current) == len(self.facts.objects):
            return False
        colour = self.rng.choice(missing)
        answer = GroundedText().say(self.pick(w.NONE).format(colour=colour))
        return self._add(self.pick(w.ASK_NONE).format(colour=colour), answer, "none of them")

    # ---- moving on -----------------------------------------------------------------------------------------

    def _move(self) -> bool:
        """One more exchange about the one thing that is left; False when there is nothing to say."""
        changing = [self._other, self._closest, self._beside, self._part_by_purpose, self._part_by_clue]
        asides = [self._colour, self._side, self._largest, self._others, self._visible_parts]
        moves: list[Callable[[], bool]] = [*changing, *asides]
        weights = [2.0, 1.5, 1.0, 3.0, 2.0, 1.0, 0.8, 0.6, 0.6, 1.0]
        full = len(self.talk.thoughts) >= _MOST_THOUGHTS
        order = sorted(zip(moves, weights), key=lambda pair: -(self.rng.random() ** (1 / pair[1])))
        return any(move() for move, _ in order if not (full and move in changing))

    @property
    def one(self) -> Entity:
        """What is left."""
        return self.current[0]

    def _change(self, question: str, entity: Entity, step: str, thought: str, forms: Sequence[str]) -> bool:
        """Go on to another thing."""
        if entity.index not in self.facts.phrases:
            return False
        unnamed = w.PART_UNNAMED if entity.owner is not None else w.MOVED_UNNAMED
        unnamed = w.OTHER_UNNAMED if step == "other" else unnamed
        if self.rng.random() < _UNNAMED_SHARE:
            answer = GroundedText().say(self.pick(unnamed))
        else:
            answer = self._listing(forms, [entity])
        self._add(question, answer, step)
        self.before, self.current = [], [entity]
        self.talk.thoughts.append(f"{thought}: {self._plain([entity])}.")
        return True

    def _other(self) -> bool:
        rest = [e for e in self.before if e is not self.one]
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
            self.pick(w.ASK_COLOUR).format(**self._it()), GroundedText().say(_sentence(answer)), "colour"
        )

    def _side(self) -> bool:
        if abs(self.one.center[0] - 0.5) < CLEAR or "side" in self.used:
            return False
        self.used.add("side")
        side = "left" if self.one.center[0] < 0.5 else "right"
        answer = self.pick(w.SIDE).format(side=side, **self._it())
        return self._add(self.pick(w.ASK_SIDE).format(**self._it()), GroundedText().say(answer), "side")

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
        return self._add(self.pick(w.ASK_LARGEST).format(**self._it()), GroundedText().say(answer), "largest")

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
        return self._add(question, GroundedText().say(_sentence(answer)), "others")

    def _visible_parts(self) -> bool:
        parts = () if self.one.owner is not None else self.facts.parts_of(self.one)
        names = [part.noun for part in parts]
        if not 1 < len(parts) <= _MOST_LISTED or len(set(names)) < len(names) or "parts" in self.used:
            return False
        self.used.add("parts")
        answer = GroundedText()
        before, _, after = self.pick(w.PARTS).partition("{list}")
        answer.say(before).join([self._grounder(answer, "the ", p.noun, [p]) for p in parts]).say(after)
        answer.text = _sentence(answer.text)
        return self._add(self.pick(w.ASK_PARTS).format(**self._it()), answer, "parts")

    # ---- words ---------------------------------------------------------------------------------------------

    def pick(self, options: Sequence[str]) -> str:
        """One of several wordings."""
        return self.rng.choice(options)

    def _add(self, question: str, answer: GroundedText, step: str) -> bool:
        self.talk.exchanges.append(Exchange(self._typed(_sentence(question)), answer, step))
        return True

    def _typed(self, question: str) -> str:
        """As people type: now and then without a capital or without the last mark."""
        if self.rng.random() < 0.12 and not question.startswith("I "):
            question = question[0].lower() + question[1:]
        return question.rstrip(".?") if self.rng.random() < 0.1 else question

    def _listing(
        self,
        forms: Sequence[str],
        entities: Sequence[Entity],
        fields: Mapping[str, str] | None = None,
        *,
        definite: bool = True,
    ) -> GroundedText:
        """A sentence with a list of things in it, each grounded."""
        known = dict(fields or {})
        before, has_list, after = self.pick(forms).partition("{list}")
        text = GroundedText().say(before.format(**known))
        if has_list:
            text.join(self._pieces(text, entities, definite)).say(after.format(**known))
        text.text = _sentence(text.text)
        return text

    def _pieces(
        self, text: GroundedText, entities: Sequence[Entity], definite: bool
    ) -> list[Callable[[], object]]:
        """How each is named: "the red mug", "a red mug", or "two mugs" where they cannot be told apart."""
        groups: dict[str, list[Entity]] = {}
        for entity in entities:
            own = definite and entity.index in self.facts.phrases
            groups.setdefault(self.facts.phrases[entity.index] if own else entity.title, []).append(entity)
        pieces = []
        for phrase, group in groups.items():
            if len(group) > 1:
                lead, name = f"{english.number(len(group))} ", english.plural(phrase)
            elif definite and group[0].index in self.facts.phrases:
                lead, name = "the ", phrase
            else:
                countable = english.is_countable(group[0].noun)
                lead, name = f"{english.article(phrase)} " if countable else "", phrase
            pieces.append(self._grounder(text, lead, name, group))
        return pieces

    def _grounder(
        self, text: GroundedText, lead: str, name: str, group: Sequence[Entity]
    ) -> Callable[[], object]:
        return lambda: text.say(lead).ground(name, 0, [entity.region for entity in group])

    def _plain(self, entities: Sequence[Entity]) -> str:
        text = GroundedText()
        return text.join(self._pieces(text, entities, definite=True)).text

    def _it(self) -> dict[str, str]:
        """Pronouns for what is left."""
        if self.one.is_plural:
            return {
                "it": "them",
                "is_it": "are they",
                "Is_it": "Are they",
                "It_is": "They are",
                "does_it": "do they",
            }
        return {"it": "it", "is_it": "is it", "Is_it": "Is it", "It_is": "It is", "does_it": "does it"}

    def _distance(self, other: Entity) -> float:
        return math.dist(self.one.center, other.center)


def _sentence(text: str) -> str:
    """With a capital; the length stays, so that spans do."""
    return text[:1].upper() + text[1:]
