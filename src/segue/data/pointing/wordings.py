"""How questions about a marked region are phrased, several ways each.

What stands in brackets is what the mark belongs to. Fields: `{k}` the number of the image that is looked in,
`{owner}` the object that a part belongs to, `{part}` a part's name, `{side}` "left" or "right".
"""

from __future__ import annotations

POINTING: dict[str, tuple[str, ...]] = {
    # The same kind, or the same part of the same kind of object, in all the other images.
    "same_kind": (
        "Find [this] in the other images.",
        "Find [this thing] in the other images.",
        "Where else is [this]?",
        "Show me the same as [this] in the other images.",
        "Which of the other images shows [this] too?",
        "Mark everything like [this] in the other images.",
    ),
    # The same where there is one other image.
    "same_kind_in": (
        "Find [this] in image {k}.",
        "Is there anything like [this] in image {k}?",
        "Where in image {k} is something like [this]?",
        "Mark everything like [this] in image {k}.",
        "Does image {k} show [this] too?",
    ),
    "same_part": (
        "Show me the same part of the {owner} in image {k} as [this].",
        "Find [this part] of the {owner} in image {k}.",
        "Where is the same as [this] on the {owner} in image {k}?",
        "Which part of the {owner} in image {k} is like [this]?",
        "Mark what [this] is on the {owner} in image {k}.",
    ),
    # The very thing, in another picture of it.
    "same_instance": (
        "Find exactly [this one] in the other images.",
        "Which of the other images shows exactly [this one]?",
        "Where else is [this very one]?",
        "Point out [this one], and nothing that is only like it.",
    ),
    "same_instance_in": (
        "Find exactly [this one] in image {k}.",
        "Image {k} is another picture of this scene. Where is [this] there?",
        "Where is [this very one] in image {k}?",
        "Point out [this one] in image {k}, and nothing that is only like it.",
    ),
    # Follow-ups, which rest on earlier masks.
    "again": (
        "And in image {k}?",
        "Where was it in image {k}?",
        "Show it in image {k} again.",
        "Which one was marked in image {k}?",
    ),
    "parts": (
        "Show me the {part} of the one in image {k}.",
        "And where is its {part} in image {k}?",
        "Now the {part} of the one that you found in image {k}.",
    ),
    "larger": (
        "Which of them takes up the largest share of its picture, the marked one included?",
        "Which one is the largest in its picture, the marked one or one that you found?",
    ),
    "side": (
        "Which of those in image {k} is further to the {side}?",
        "Which of the two in image {k} is on the {side}?",
    ),
}
