"""The replies of the three steps, as shapes whose JSON schema is sent along.

Every field is required and nothing else is allowed, as servers with strict schemas want it.

Source: PRIST's three steps (elements, reasoning tree, dialogue); a tree of nodes with parents instead of
prose with "overlap of path 1 and 3" is ours: overlap is then shared nodes, and can be checked.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

ROOT = "root"
"""Parent of the nodes that follow from the picture as a whole."""


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Element(_Shape):
    """A visible thing: its name, what can be seen of it, text on it, and how many there are."""

    name: str
    details: str
    text: str
    count: int


class Elements(_Shape):
    """Reply of step 1."""

    elements: list[Element]


class TreeNode(_Shape):
    """One thought, following from that of its parent."""

    id: str
    parent: str
    thought: str


class TreePath(_Shape):
    """A question, and the leaf in which the reasoning about it ends.

    Attributes:
        question: What a person may ask first.
        rating: 1 to 3; only 2 and 3 are kept.
        leaf: Id of a node without children.
        element: Name of the element in which the path ends.
        focus: Names the one thing that is meant.
    """

    question: str
    rating: int
    leaf: str
    element: str
    focus: str


class ReasoningTree(_Shape):
    """Reply of step 2."""

    root: str
    nodes: list[TreeNode]
    paths: list[TreePath]

    def way_to(self, leaf: str) -> list[TreeNode]:
        """The nodes from the root to a leaf; ends early at an unknown parent or where it would go round."""
        by_id = {node.id: node for node in self.nodes}
        way: list[TreeNode] = []
        current = by_id.get(leaf)
        while current is not None and current not in way:
            way.append(current)
            current = by_id.get(current.parent)
        return way[::-1]


class Round(_Shape):
    """A question and its answer."""

    question: str
    answer: str


class Dialogue(_Shape):
    """Reply of step 3."""

    turns: list[Round]


class BoxReply(_Shape):
    """Where the focus is: left, top, right, bottom in thousandths of width and height."""

    box: list[int]
