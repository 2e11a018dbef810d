"""Judges a talking model by free generation on conversations that it was not trained on, by kind of question.

python -m segue.mini.talk.evaluate runs/mini/talk/final --conversations 200
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segue import protocol
from segue.files import write_atomic
from segue.mini.talk.asker import Exchange
from segue.mini.talk.conversation import Conversation, compose, frequent_names
from segue.mini.talk.kinds import Kinds, known_kinds
from segue.mini.talk.objective import points_of
from segue.mini.talk.statements import HEDGED
from segue.mini.talk.told_lists import ToldLists
from segue.models.mini.findings import Finding
from segue.models.mini.point_prompt import nearest_thing
from segue.models.mini.spelled_findings import FindingSpeller
from segue.models.mini.talking import TalkingModel, TalkingProcessor

SEED = 900_000
"""Conversations of evaluation begin here; training draws from generators of three numbers, never of one."""

MOST_TOKENS = 160


@dataclass
class Tally:
    """Counts over answers.

    Attributes:
        answers: how many.
        exact: whose whole text, with its tags, is the expected one.
        expected, given, right: phrases with their images, and those that are both.
        pointed: of the `[SEG]` of right phrases those whose prompt is nearest to a thing that they mean,
        points: of so many.
        refused, absent: answers without a phrase, of those that should have none.
        silent, present: answers without a phrase, of those that should have one.
    """

    answers: int = 0
    exact: int = 0
    expected: int = 0
    given: int = 0
    right: int = 0
    pointed: int = 0
    points: int = 0
    refused: int = 0
    absent: int = 0
    silent: int = 0
    present: int = 0

    @property
    def f1(self) -> float:
        """Of phrases with their images."""
        return 2 * self.right / max(self.expected + self.given, 1)

    def add(self, other: Tally) -> None:
        """Sum up."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)

    def figures(self) -> dict[str, float]:
        """Shares, and the number of answers."""
        pairs = {
            "exact": (self.exact, self.answers),
            "right_instance": (self.pointed, self.points),
            "absent_refused": (self.refused, self.absent),
            "present_refused": (self.silent, self.present),
        }
        shares = {name: round(part / whole, 4) for name, (part, whole) in pairs.items() if whole}
        return {"answers": self.answers, "f1": round(self.f1, 4)} | shares


class Talker:
    """Answers over lists of findings.

    Args:
        model: in eval mode.
        processor: its processor.
    """

    def __init__(self, model: TalkingModel, processor: TalkingProcessor) -> None:
        self.model, self.processor = model, processor
        self.spell = FindingSpeller(processor.tokenizer)

    def __call__(
        self,
        images: Sequence[Sequence[Finding]],
        turns: list[tuple[str, str]],
        regions: Sequence[Finding] = (),
    ) -> tuple[str, Tensor]:
        """The answer to the last turn, and the prompts of its `[SEG]`.

        Args:
            images: findings of each.
            turns: questions and answers, a question last.
            regions: what lies under the marks of the questions, in order.
        """
        encoded = self.processor.encode_turns(turns, len(images), add_generation_prompt=True)
        made = self.model.generate_grounded(
            torch.tensor([encoded["input_ids"]]),
            [len(images)],
            max_new_tokens=MOST_TOKENS,
            finding_ids=self.spell(images),
            region_features=self.spell.rows(regions, self.model.region_width),
        )
        return self.processor.decode_markup(made.token_ids), made.seg_prompts


def judge(markup: str, prompts: Tensor, exchange: Exchange, images: Sequence[Sequence[Finding]]) -> Tally:
    """Compare one answer with what the lists say.

    Args:
        markup: the answer.
        prompts: `[K, D]` of its `[SEG]`.
        exchange: the question with the right answer.
        images: findings that the answer is right about.
    """
    parsed = protocol.parse(markup, len(images))
    said = [(g.phrase, g.image_index, g.seg_ordinal) for g in parsed.groundings]
    wanted = {
        (exchange.answer.text[m.start : m.end], m.image_index): m.findings for m in exchange.answer.mentions
    }
    expected = Counter({key: len(found) for key, found in wanted.items()})
    given = Counter((phrase, k) for phrase, k, _ in said)
    tally = Tally(
        answers=1,
        exact=int(markup == exchange.answer.markup),
        expected=sum(expected.values()),
        given=sum(given.values()),
        right=sum((expected & given).values()),
    )
    if expected:
        tally.present, tally.silent = 1, int(not given)
    else:
        tally.absent, tally.refused = 1, int(not given)
    met: Counter[tuple[str, int]] = Counter()
    for phrase, k, ordinal in said:
        found = wanted.get((phrase, k), ())
        place = met[phrase, k]
        met[phrase, k] += 1
        if place < len(found) and ordinal < len(prompts):
            things = [f for f in images[k] if f.presence >= HEDGED]
            nearest = nearest_thing(prompts[ordinal][None], points_of(things, prompts.shape[1]))
            hit = things[int(nearest[0])]
            same = (hit.centre_yx, hit.area) == (found[place].centre_yx, found[place].area)
            tally.points, tally.pointed = tally.points + 1, tally.pointed + int(same)
    return tally


def evaluate(
    talker: Talker,
    kinds: Kinds,
    conversations: int,
    *,
    held_out: bool = False,
    exchanged: bool = False,
    lists: ToldLists | None = None,
) -> dict[str, Tally]:
    """Tallies by kind of question, and `all` of those that need the images.

    Each answer is judged after the right answers before it.

    Args:
        conversations: how many.
        held_out: with wordings that training never uses, where there are some.
        exchanged: show the findings of other conversations: what is right then was not read.
        lists: about findings in photographs, in place of drawn-up ones.
    """
    tallies: dict[str, Tally] = defaultdict(Tally)
    for number in range(conversations):
        conversation = conversation_of(kinds, SEED + number, held_out=held_out, lists=lists)
        shown = conversation.images
        if exchanged:
            count = len(shown)
            shown = next(
                other.images
                for step in range(1, 1000)
                if len((other := conversation_of(kinds, SEED + 7919 * step + number)).images) == count
            )
        turns: list[tuple[str, str]] = []
        marked: list[Finding] = []
        for exchange in conversation.exchanges:
            turns.append(("user", exchange.question))
            marked += [finding for _, finding in exchange.regions]
            things = [
                [*found, *(f for home, f in exchange.regions if home == k)]
                for k, found in enumerate(conversation.images)
            ]
            tally = judge(*talker(shown, turns, marked), exchange, things)
            tallies[exchange.kind].add(tally)
            if exchange.needs_images:
                tallies["all"].add(tally)
            turns.append(("assistant", exchange.answer.markup))
    return dict(tallies)


def conversation_of(
    kinds: Kinds, seed: int, *, held_out: bool = False, lists: ToldLists | None = None
) -> Conversation:
    """A conversation of evaluation."""
    rng = np.random.default_rng(seed)
    images = lists(rng) if lists else None
    return compose(kinds, rng, frequent=frequent_names(), held_out=held_out, images=images)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print and write the figures of a saved model."""
    parser = argparse.ArgumentParser(description="Judge a talking model by free generation.")
    parser.add_argument("model", type=Path, help="folder of the model")
    parser.add_argument("--conversations", type=int, default=200, help="how many of each sort")
    parser.add_argument("--told", type=Path, help="findings in photographs, of segue.mini.look.tell")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    options = parser.parse_args(arguments)
    talker = Talker(
        TalkingModel.from_pretrained(options.model).eval(), TalkingProcessor.from_pretrained(options.model)
    )
    report = {}
    sorts: dict[str, dict[str, Any]] = {
        "usual": {},
        "unseen wordings": {"held_out": True},
        "exchanged": {"exchanged": True},
    }
    if options.told:
        sorts["photographs"] = {"lists": ToldLists(options.told, known_kinds())}
    for name, how in sorts.items():
        tallies = evaluate(talker, known_kinds(), options.conversations, **how)
        report[name] = {kind: tallies[kind].figures() for kind in sorted(tallies)}
        print(name, json.dumps(report[name], indent=1))
    if options.out:
        write_atomic(options.out, json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
