"""Rules for the replies of each step beyond their shape; each broken rule has a name and a reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence

from segue.datasets.generation import broken
from segue.datasets.prist.labels import folded
from segue.datasets.prist.steps import ROOT, BoxReply, Dialogue, Elements, ReasoningTree, Round, TreePath
from segue.protocol import contains_tag

FEWEST_TURNS, MOST_TURNS = 2, 8
"""Rounds of a dialogue before the one with the mask. Source: ours; the release has 2 to 4."""

_DEPTHS = range(2, 7)
_LONGEST_FOCUS = 12  # words; the longest of the release has 13
_LONGEST_TURN = 80  # words
_WORD = re.compile(r"\w+(?:['’]\w+)*")
_EMPTY_WORDS = frozenset(
    {"a", "an", "the", "this", "that", "these", "those", "of", "on", "in", "at", "to", "with", "by", "for"}
    | {"from", "and", "or", "is", "are", "it", "its", "his", "her", "their", "near", "next", "beside"}
    | {"under", "over", "above", "below", "inside", "behind", "front"}
)
_AFTER_CORE = re.compile(
    r"\b(?:of|on|in|at|with|by|for|from|near|next|beside|under|over|above|below|inside|behind|that|which|to)\b"
)
_NO_THING = frozenset(
    {"lighting", "sunlight", "shadow", "shadows", "mood", "atmosphere", "style", "tone", "tones", "theme"}
    | {"reflection", "reflections", "background", "foreground", "scenery", "feeling", "emotion", "posture"}
    | {"gesture", "gestures", "vibe", "design", "composition", "brightness", "contrast"}
)
"""Last words of a focus that nobody could outline; "light" is missing, since a traffic light is a thing."""
_ABOUT_THE_TASK = re.compile(
    r"\b(?:focus|segment\w*|reasoning (?:tree|path)|path \d|leaf|json)\b", re.IGNORECASE
)


def words_of(text: str) -> frozenset[str]:
    """The words that carry meaning, without case, possessives and plural endings."""
    words = (re.sub(r"['’]s?$", "", word) for word in _WORD.findall(text.casefold()))
    return frozenset(_stem(word) for word in words if word not in _EMPTY_WORDS)


def _stem(word: str) -> str:
    # "watches" to "watch", "glasses" to "glass"; "glass" itself stays.
    if len(word) > 4 and word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def names(focus: str, text: str) -> bool:
    """Whether a text names the focus: all words of what it is called, wherever it is said to be.

    "blue umbrella on the left" is named by "the blue umbrella" and by "umbrellas that are blue".
    """
    # Of "red mug on the table" only "red mug" must be said; where nothing stands before the preposition, all.
    core = words_of(_AFTER_CORE.split(focus.casefold(), maxsplit=1)[0]) or words_of(focus)
    return bool(core) and core <= words_of(text)


def check_elements(reply: Elements, *, least: int = 3) -> Elements:
    """Step 1: enough elements, each with a name of its own."""
    elements = reply.elements
    if len(elements) < least:
        raise broken("too few elements", f"it lists {len(elements)} elements; list at least {least}")
    for element in elements:
        _check_text(element.name, "the name of an element", most_words=_LONGEST_FOCUS)
        if element.count < 1:
            raise broken("wrong count", f"element {element.name!r} has count {element.count}; give 1 or more")
    twice = [name for name, n in Counter(folded(e.name) for e in elements).items() if n > 1]
    if twice:
        raise broken("element repeated", f"several elements are called {twice[0]!r}; give each its own name")
    return reply


def check_tree(
    tree: ReasoningTree, elements: Collection[str], *, paths: int, outlined: Collection[str] = ()
) -> ReasoningTree:
    """Step 2: a tree whose every path ends in one visible thing of its own.

    Args:
        tree: The reply.
        elements: Names of step 1.
        paths: How many are wanted.
        outlined: Names of the outlined things; where there are some, every path must end in one of them.
    """
    if len(tree.paths) != paths:
        raise broken("wrong number of paths", f"it has {len(tree.paths)} paths; give exactly {paths}")
    _check_nodes(tree)
    # Order: later checks rest on earlier ones, such as `way_to` on known parents; and the first reason is
    # what the model is told.
    parents = {node.parent for node in tree.nodes}
    leaves = [node.id for node in tree.nodes if node.id not in parents]
    ends = Counter(path.leaf for path in tree.paths)
    if (wrong := next((path.leaf for path in tree.paths if path.leaf not in leaves), None)) is not None:
        raise broken("path without leaf", f"{wrong!r} is the leaf of a path but not a node without children")
    if max(ends.values()) > 1:
        raise broken("leaf shared", f"two paths end in the leaf {ends.most_common(1)[0][0]!r}")
    if (loose := next((leaf for leaf in leaves if leaf not in ends), None)) is not None:
        raise broken("leaf without path", f"the leaf {loose!r} belongs to no path; give it one or drop it")
    _check_ways(tree)
    known = {folded(name) for name in (outlined or elements)}
    for path in tree.paths:
        _check_path(path, known, bool(outlined))
    _check_distinct(tree.paths, bool(outlined))
    return tree


def _check_nodes(tree: ReasoningTree) -> None:
    ids = Counter(node.id for node in tree.nodes)
    for node in tree.nodes:
        if not node.id.strip() or node.id == ROOT or ids[node.id] > 1:
            raise broken("bad node id", f"the node id {node.id!r} is empty, taken, or {ROOT!r}")
        if node.parent != ROOT and node.parent not in ids:
            raise broken(
                "unknown parent", f"node {node.id!r} has the parent {node.parent!r}, which is no node"
            )
        _check_text(node.thought, f"the thought of node {node.id!r}")


def _check_ways(tree: ReasoningTree) -> None:
    for path in tree.paths:
        way = tree.way_to(path.leaf)
        if way and way[0].parent != ROOT:
            raise broken(
                "path without root", f"the path to {path.leaf!r} goes in a circle instead of to the root"
            )
        if len(way) not in _DEPTHS:
            raise broken(
                "wrong depth",
                f"the path to {path.leaf!r} has {len(way)} nodes; give {_DEPTHS[0]} to {_DEPTHS[-1]}",
            )


def _check_path(path: TreePath, known: Collection[str], outlined: bool) -> None:
    _check_text(path.question, "the question of a path", _LONGEST_TURN)
    _check_text(path.focus, "the focus of a path", _LONGEST_FOCUS)
    if not 2 <= path.rating <= 3:
        raise broken(
            "question rated too low", f"{path.question!r} is rated {path.rating}; ask one worth 2 or 3"
        )
    if folded(path.element) not in known:
        where = "among the outlined things" if outlined else "among the elements of step 1"
        raise broken(
            "no visible element", f"the path to {path.focus!r} ends in {path.element!r}, not {where}"
        )
    if "," in path.focus or ";" in path.focus or " and " in f" {path.focus.casefold()} ":
        raise broken("several things", f"the focus {path.focus!r} names several things; name one")
    # "long shadow of a tree" ends, before its "of", in "shadow".
    last = _AFTER_CORE.split(path.focus.casefold(), maxsplit=1)[0].split()[-1:]
    if last and last[0] in _NO_THING:
        raise broken("no thing", f"the focus {path.focus!r} is no thing that can be outlined")
    if names(path.focus, path.question):
        raise broken("focus leaked", f"the question {path.question!r} names its own focus, {path.focus!r}")


def _check_distinct(paths: Sequence[TreePath], outlined: bool) -> None:
    # By words that carry meaning: "the red mug" and "red mugs" are one focus.
    focuses = Counter(words_of(path.focus) for path in paths)
    for path in paths:
        if focuses[words_of(path.focus)] > 1:
            raise broken("focus duplicated", f"two paths have the focus {path.focus!r}; each needs its own")
    asked = Counter(folded(path.question) for path in paths)
    if max(asked.values()) > 1:
        raise broken("question repeated", f"two paths have the question {asked.most_common(1)[0][0]!r}")
    ends = Counter(folded(path.element) for path in paths)
    if outlined and max(ends.values()) > 1:
        raise broken("focus duplicated", f"two paths end in {ends.most_common(1)[0][0]!r}")


def check_dialogue(
    dialogue: Dialogue,
    focus: str,
    *,
    fewest: int = FEWEST_TURNS,
    most: int = MOST_TURNS,
    labels: Collection[str] = (),
) -> list[Round]:
    """Step 3: the right length, no repetition, and the focus named by the last answer and not before.

    Args:
        dialogue: The reply.
        focus: What the path ends in.
        fewest: Rounds at least.
        most: Rounds at most.
        labels: Names that were made for the model alone ("cup 2"), which no person would say.
    """
    rounds = dialogue.turns
    if not fewest <= len(rounds) <= most:
        raise broken(
            "wrong number of turns",
            f"it has {len(rounds)} rounds; write at least {fewest} and at most {most}",
        )
    for number, round_ in enumerate(rounds, start=1):
        for what, text in (("question", round_.question), ("answer", round_.answer)):
            _check_text(text, f"{what} {number}", _LONGEST_TURN)
            if found := _ABOUT_THE_TASK.search(text):
                raise broken("speaks of the task", f"{what} {number} says {found[0]!r}; nobody may")
            label = next((x for x in labels if re.search(rf"\b{re.escape(x)}\b", text, re.IGNORECASE)), None)
            if label is not None:
                raise broken("label in the text", f"{what} {number} says {label!r}; use words of a person")
            if names(focus, text) and (what == "question" or number < len(rounds)):
                raise broken(
                    "focus leaked",
                    f"{what} {number} names {focus!r}; only the last answer may",
                )
    if not names(focus, rounds[-1].answer):
        raise broken("focus not reached", f"the last answer does not name {focus!r}")
    if len({folded(round_.question) for round_ in rounds}) < len(rounds):
        raise broken("question repeated", "a question is asked twice")
    return list(rounds)


def check_box(reply: BoxReply) -> tuple[float, float, float, float]:
    """The box as shares of width and height; it has to have an area."""
    box = reply.box
    if len(box) != 4 or not all(0 <= value <= 1000 for value in box):
        raise broken("no box", f"{box} is not four numbers from 0 to 1000")
    left, top, right, bottom = box
    # Thousandths of the side.
    if right - left < 2 or bottom - top < 2:
        raise broken("no box", f"{box} has no area; left and top are the smaller numbers")
    return left / 1000, top / 1000, right / 1000, bottom / 1000


def _check_text(text: str, what: str, most_words: int = _LONGEST_TURN) -> None:
    if not text.strip() or "\n" in text.strip() or "\0" in text:
        raise broken("no text", f"{what} is empty or has several lines: {text[:60]!r}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise broken("no text", f"{what} holds characters that cannot be written") from None
    if tag := contains_tag(text):
        raise broken("tag in the text", f"{what} contains {tag!r}")
    if len(text.split()) > most_words:
        raise broken("too long", f"{what} has {len(text.split())} words; at most {most_words} may be used")
