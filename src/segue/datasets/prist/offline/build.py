"""Records of rule-based dialogues: a tree per picture, a conversation per path, and a folder of them."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from segue.data.formats.annotations import AnnotatedImage
from segue.data.language.grounded_text import RegionText
from segue.datasets.generation.ledger import Ledger
from segue.datasets.generation.output import held
from segue.datasets.generation.problems import UnusableReplyError
from segue.datasets.prist.final_turn import Said, Target, finished
from segue.datasets.prist.labels import folded
from segue.datasets.prist.offline.facts import PictureFacts
from segue.datasets.prist.offline.talk import Talk, compose
from segue.datasets.prist.rules import check_tree, names
from segue.datasets.prist.steps import ROOT, ReasoningTree, TreeNode, TreePath
from segue.errors import InputError
from segue.records import Conversation, ImageRef, Region, Span
from segue.records.conversation import Split
from segue.records.jsonl import write_jsonl

VERSION = 1
"""Raised when the same seed gives other dialogues than before."""

_ROUNDS = {2: 0.30, 3: 0.30, 4: 0.19, 5: 0.11, 6: 0.06, 7: 0.03, 8: 0.01}
"""Rounds before the one with the mask -> share; the mean, 3.5, is somewhat above the release's 2.9."""
_TRIES = 12
"""Attempts for each dialogue of a picture."""


@dataclass(frozen=True)
class OfflineSettings:
    """Settings: what is made of each picture.

    Attributes:
        paths: Dialogues per picture at most; fewer where fewer targets can be told apart.
        masks: "final" as in PRIST; with "every" the things that earlier answers name have masks too.
        split: Written into the records.
        seed: The same seed and pictures give the same records.
    """

    paths: int = 3
    masks: Literal["final", "every"] = "final"
    split: Split = "train"
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.paths <= 12 or self.seed < 0:
            raise InputError(
                "These dialogues cannot be made.",
                expected="1 to 12 paths, and a seed of 0 or more",
                found=f"{self.paths} paths, seed {self.seed}",
                where="OfflineSettings",
                fix="change them",
            )


@dataclass(frozen=True)
class Picture:
    """An annotated image and how its records name it."""

    annotated: AnnotatedImage
    path: str
    absent: tuple[str, ...] = ()


def dialogues_of(picture: Picture, settings: OfflineSettings) -> list[Conversation]:
    """All dialogues of one picture; they depend on it and on the settings alone.

    Returns:
        Up to `paths` conversations of task "prist" with different targets, all with the picture's one tree
        in `meta`; none where no target can be told apart.
    """
    annotated = picture.annotated
    # By the picture's own id: its dialogues stay the same whatever other pictures there are.
    key = f"{settings.seed}/{settings.split}/{annotated.image_id}".encode()
    seed = int.from_bytes(hashlib.sha256(key).digest()[:8], "big")
    rng = random.Random(seed)
    facts = PictureFacts(annotated)
    talks: list[Talk] = []
    for _ in range(settings.paths * _TRIES):
        if len(talks) == settings.paths:
            break
        rounds = rng.choices(list(_ROUNDS), list(_ROUNDS.values()))[0]
        talk = compose(facts, rng, rounds, picture.absent)
        if talk is not None and talk.focus not in {other.focus for other in talks}:
            talks.append(talk)
    if not talks:
        return []
    tree = tree_of(talks)
    wordings = np.random.default_rng(seed)
    return [_conversation(picture, settings, talk, tree, k, wordings) for k, talk in enumerate(talks)]


def tree_of(talks: Sequence[Talk]) -> ReasoningTree:
    """The thoughts of several dialogues as one tree: what two of them begin with alike is shared.

    Raises:
        AssertionError: The tree breaks a rule of PRIST's second step; the composer rules this out.
    """
    # Thoughts (a, b) and (a, c) give the nodes n1 = a, n2 = b and n3 = c: a way is known by all thoughts up
    # to it, so equal thoughts after different ones stay two nodes.
    ids: dict[tuple[str, ...], str] = {}
    nodes, paths = [], []
    asked: set[str] = set()
    for number, talk in enumerate(talks):
        parent = ROOT
        for depth in range(1, len(talk.thoughts) + 1):
            way = tuple(talk.thoughts[:depth])
            if way not in ids:
                ids[way] = f"n{len(ids) + 1}"
                nodes.append(TreeNode(id=ids[way], parent=parent, thought=way[-1]))
            parent = ids[way]
        leaf = f"leaf{number + 1}"
        nodes.append(TreeNode(id=leaf, parent=parent, thought=f"So it is the {talk.focus}."))
        # The tree's question may not name its own focus (`check_tree`), and no two paths may ask the same.
        questions = (e.question for e in talk.exchanges if not names(talk.focus, e.question))
        free = (question for question in questions if folded(question) not in asked)
        question = next(free, f"What is meant in dialogue {number + 1}?")
        asked.add(folded(question))
        rating = 2 if len(talk.thoughts) <= 2 else 3
        paths.append(
            TreePath(question=question, rating=rating, leaf=leaf, element=talk.focus, focus=talk.focus)
        )
    tree = ReasoningTree(root="The things in the picture.", nodes=nodes, paths=paths)
    try:
        return check_tree(tree, [talk.focus for talk in talks], paths=len(talks))
    except UnusableReplyError as error:
        raise AssertionError(f"{error.reason}: {tree}") from None


def _conversation(
    picture: Picture,
    settings: OfflineSettings,
    talk: Talk,
    tree: ReasoningTree,
    number: int,
    rng: np.random.Generator,
) -> Conversation:
    annotated = picture.annotated
    assert talk.target is not None
    region = talk.target.region
    # The target has the first place whenever it is named: `finished` gives it the rid "r1". `_spans` adds the
    # others, so they are listed only after it.
    rids = {region.rid: "r1"}
    said = []
    for exchange in talk.exchanges:
        spans = _spans(exchange.answer, rids) if settings.masks == "every" else ()
        said += [Said("user", exchange.question), Said("assistant", exchange.answer.text, spans)]
    by_rid = {r.rid: r for r in annotated.regions}
    others = [
        Region(rid=rid, image_index=0, kind=by_rid[own].kind, name=by_rid[own].name, mask=by_rid[own].rle)
        for own, rid in rids.items()
        if rid != "r1"
    ]
    return finished(
        id=f"prist/{settings.split}/{annotated.image_id}/{number}",
        split=settings.split,
        image=ImageRef(
            image_id=f"prist:{annotated.image_id}",
            path=picture.path,
            height=annotated.height,
            width=annotated.width,
        ),
        said=said,
        target=Target(f"the {talk.focus}", region.rle, region.kind, region.source_label),
        rng=rng,
        meta={
            "question": tree.paths[number].question,
            "rating": tree.paths[number].rating,
            "thoughts": [node.thought for node in tree.way_to(tree.paths[number].leaf)],
            "leaf": tree.paths[number].leaf,
            "tree": tree.model_dump(),
            "steps": [exchange.step for exchange in talk.exchanges],
            "named_before": talk.named,
            "masks": "annotated",
            "generator": "rules",
        },
        others=others,
    )


def _spans(answer: RegionText, rids: dict[str, str]) -> tuple[Span, ...]:
    """The spans of an answer; regions that are named for the first time get the next rid."""
    spans = []
    for span in answer.spans:
        for region in span.payload:
            rids.setdefault(region.rid, f"r{len(rids) + 1}")
        own = [rids[region.rid] for region in span.payload]
        spans.append(Span(start=span.start, end=span.end, rids=own))
    return tuple(spans)


# ---- a folder of them --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OfflineReport:
    """Numbers of a build over a set of pictures."""

    records: Path
    pictures: int
    conversations: int
    without: int
    steps: dict[str, int]

    def lines(self) -> list[str]:
        """For a terminal."""
        listed = ", ".join(f"{step} {count}" for step, count in self.steps.items())
        lines = [f"{self.conversations} dialogues about {self.pictures} pictures", f"steps: {listed}"]
        if self.without:
            lines.append(f"{self.without} pictures show nothing that can be told apart, and have no dialogue")
        return lines


def build_offline(
    pictures: Iterable[tuple[str, Callable[[], Picture]]],
    out: Path,
    settings: OfflineSettings,
    *,
    total: int | None = None,
    progress: bool = True,
) -> OfflineReport:
    """Write `conversations.jsonl` into a folder; interrupted, the same call goes on where it was.

    Args:
        pictures: (key, how to get the picture) in order; a key changes with the picture.
        out: The folder.
        settings: What to make.
        total: Number of pictures, for the progress bar.
        progress: Whether to show one.
    """
    lock = held(out)
    ledger = Ledger(out / "made.jsonl")
    own = json.dumps([VERSION, asdict(settings)], sort_keys=True)
    keys: list[str] = []
    # None: a bar on a terminal, and silence where stderr is a file.
    hidden = None if progress else True
    try:
        for name, get in tqdm(pictures, total=total, desc="prist", unit="picture", disable=hidden):
            key = hashlib.sha256(f"{own}{name}".encode()).hexdigest()
            if key not in ledger:
                records = [c.to_json() for c in dialogues_of(get(), settings)]
                # Not synced: what a power cut loses is made again for nothing.
                ledger.append({"key": key, "records": records}, synced=False)
            keys.append(key)
        return _write(out, ledger, keys)
    finally:
        ledger.close()
        lock.close()


def _write(out: Path, ledger: Ledger, keys: Sequence[str]) -> OfflineReport:
    steps: Counter[str] = Counter()
    without = 0

    def conversations() -> Iterable[Conversation]:
        nonlocal without
        for key in keys:
            made: list[dict[str, Any]] = (ledger.get(key) or {"records": []})["records"]
            without += not made
            for record in made:
                steps.update(record["meta"]["steps"])
                yield Conversation.from_json(record)

    path = out / "conversations.jsonl"
    count = write_jsonl(path, conversations())
    return OfflineReport(path, len(keys), count, without, dict(steps.most_common()))
