"""Composes a dialogue that ends in one thing, which its last request does not name.

A dialogue has a *current set*: all things of the picture at first, fewer with every clue, then one; from
there it may move on ("the other one", "what is closest to it?", "which part of it ...?"). What the last
request means follows from these steps, and from nothing else.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from segue.data.language import english
from segue.data.language.grounded_text import RegionText
from segue.datasets.prist.offline import wordings as w
from segue.datasets.prist.offline.clues import Clue, clues_for
from segue.datasets.prist.offline.facts import Entity, PictureFacts
from segue.datasets.prist.offline.lexicon import COLOUR_NAMES
from segue.datasets.prist.offline.moves import Moves
from segue.datasets.prist.offline.telling import MOST_LISTED, MOST_THOUGHTS, UNNAMED_SHARE, Talk, as_sentence
from segue.datasets.prist.rules import words_of

__all__ = ["Talk", "compose"]


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


class _Composer(Moves):
    """Opens a dialogue and narrows it down to one thing."""

    def run(self) -> Talk | None:
        """Open, narrow down to one thing, and move on until the dialogue is long enough."""
        nameable = [e for e in self.facts.objects if e.index in self.facts.phrases]
        if not nameable:
            return None
        target = self.rng.choice(nameable)
        if not self._open(target) or not self._narrow(target):
            return None
        while len(self.talk.exchanges) < self.rounds and self.move_on():
            pass
        if len(self.talk.exchanges) < 2:
            return None
        return self._finished()

    def _finished(self) -> Talk | None:
        """The dialogue, unless a question gives the target away."""
        [target] = self.current
        self.talk.target, self.talk.focus = target, self.facts.phrases[target.index]
        meaning = words_of(self.talk.focus)
        # In any order and number: "mugs that are red" gives away "red mug".
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
        if len(self.current) > MOST_LISTED:
            return True
        if len(self.current) == 1 or (spare > 0 and self.rng.random() < 0.35):
            self._add(self.pick(w.LOOK), self._listing(w.LOOKED, self.current, definite=False), "look")
            if len(self.current) == 1:
                self.talk.thoughts.append("There is only one thing.")
        return True

    def _ask_absent(self) -> None:
        noun = self.rng.choice(self.absent)
        a_x = noun if not english.is_countable(noun) else f"{english.article(noun)} {noun}"
        answer = RegionText().say(self.pick(w.ABSENT).format(x=noun))
        self._add(self.pick(w.ASK_ABSENT).format(a_x=a_x), answer, "absent")

    def _ask_several(self, target: Entity, same: Sequence[Entity]) -> bool:
        """Ask for a thing of which there are several, and be asked back."""
        noun, plural = target.noun, english.plural(target.noun)
        self.before, self.current = self.current, list(same)
        fields = {"n": english.number(len(same)), "x": noun, "xs": plural}
        question = self.pick(w.ASK_SEVERAL).format(x=noun)
        can_list = all(e.index in self.facts.phrases for e in same) and len(same) <= MOST_LISTED
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
            # At least one, since the last clue must be given even where the dialogue grows too long.
            steps = min(steps, max(1, room), MOST_THOUGHTS - len(self.talk.thoughts))
            options = [c for c in clues_for(target, self.current, self.facts) if c.one not in self.used]
            last = [c for c in options if len(c.kept) == 1]
            more = [c for c in options if len(c.kept) > 1]
            chosen = (more if steps > 1 else last) or (last or more)
            if not chosen or len(self.talk.thoughts) >= MOST_THOUGHTS:
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

    def _left(self, kept: Sequence[Entity]) -> RegionText:
        """The answer to a clue."""
        if len(kept) == 1:
            if self.rng.random() < UNNAMED_SHARE:
                return RegionText().say(self.pick(w.LEFT_ONE_UNNAMED))
            return self._listing(w.LEFT_ONE, kept)
        n = english.number(len(kept))
        if len(kept) > MOST_LISTED or self.rng.random() < 0.3:
            return RegionText().say(as_sentence(self.pick(w.LEFT_COUNT).format(n=n)))
        return self._listing(w.LEFT_SEVERAL, kept, {"n": n})

    def _ask_none(self) -> bool:
        """Ask for a colour that none of them has."""
        if len(self.talk.exchanges) >= self.rounds - 1 or not all(e.colour for e in self.current):
            return False
        missing = sorted(COLOUR_NAMES - {e.colour for e in self.current})
        if not missing or len(self.current) == len(self.facts.objects):
            return False
        colour = self.rng.choice(missing)
        answer = RegionText().say(self.pick(w.NONE).format(colour=colour))
        return self._add(self.pick(w.ASK_NONE).format(colour=colour), answer, "none of them")
