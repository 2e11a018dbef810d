"""How the questions about a user's own annotations are phrased, several ways each.

Fields: `{x}` the thing without article, `{the_x}` with it ("the car", "the car's wheels", "the wheel of the
car"), `{a_x}` one of it ("a car", "hair", "a car's wheel"), `{xs}` all of it ("cars", "cars' wheels"),
`{the_y}` a second thing, `{is_x}` and `{does_x}` agree with `{the_x}`, `{is_a}` and `{Is_a}` with `{a_x}`,
`{it}` and `{its}` stand for what was spoken of, `{k}` is an image ("image 2", "the second photo"), `{all}`
every image ("all images", "both photos").
"""

from __future__ import annotations

WORDINGS: dict[str, tuple[str, ...]] = {
    "find": (
        "Segment {the_x} in {k}.",
        "Find {the_x} in {k}.",
        "Where {is_x} {the_x} in {k}?",
        "Show me {the_x} in {k}.",
        "Mark {the_x} in {k}, please.",
        "Can you outline {the_x} in {k}?",
        "Please highlight {the_x} in {k}.",
        "In {k}, segment {the_x}.",
    ),
    "find_two": (
        "Segment {the_x} and {the_y} in {k}.",
        "Find {the_x} and {the_y} in {k}.",
        "Show me both {the_x} and {the_y} in {k}.",
        "Mark {the_x} and {the_y} in {k}.",
        "Where are {the_x} and {the_y} in {k}?",
        "In {k}, outline {the_x} and {the_y}.",
    ),
    "find_each": (
        "Segment the {xs} in {all}.",
        "Find the {xs} in {all}.",
        "Show me the {xs} in {all}.",
        "Mark the {xs} wherever you see them.",
        "Where are the {xs} in {all}?",
        "Please outline the {xs} in {all}.",
    ),
    "what": (
        "What is in {k}?",
        "What can you see in {k}?",
        "What does {k} show?",
        "Which objects are in {k}?",
        "List the objects in {k}.",
        "Tell me what {k} shows.",
        "Segment everything you know in {k}.",
        "What is there in {k}?",
    ),
    "which": (
        "In which image {is_a} there {a_x}?",
        "Which image shows {a_x}?",
        "Which images show {a_x}?",
        "Where can I see {a_x}?",
        "Which of these pictures has {a_x} in it?",
        "Which photo shows {a_x}?",
        "Find the images with {a_x}.",
        "In which of the images can you see {a_x}?",
    ),
    "yes_no": (
        "{Is_a} there {a_x} in {k}?",
        "Can you see {a_x} in {k}?",
        "Does {k} show {a_x}?",
        "Do you see {a_x} in {k}?",
        "{Is_a} {a_x} visible in {k}?",
        "Have you found {a_x} in {k}?",
    ),
    "compare": (
        "Compare the {xs} of {all}.",
        "Compare the {xs} in {all}.",
        "How do the {xs} in the images differ?",
        "What is different about the {xs} in these images?",
        "Can you compare the {xs}?",
        "Tell me how the {xs} compare.",
    ),
    "larger": (
        "In which image {does_x} {the_x} take up more of the picture?",
        "Which image shows {the_x} larger?",
        "Where {does_x} {the_x} look largest?",
        "In which picture {does_x} {the_x} fill more of the frame?",
        "In which photo {is_x} {the_x} largest?",
        "Compare the size of {the_x} in the images.",
    ),
    "parts": (
        "Which parts of the {x} can you see in {k}?",
        "Segment the parts of the {x} in {k}.",
        "What parts of the {x} are visible in {k}?",
        "Show me the parts of the {x} in {k}.",
        "Name the parts of the {x} in {k}.",
        "Take the {x} in {k} apart: what belongs to {it}?",
        "Mark every part of the {x} in {k}.",
    ),
    "count": (
        "How many {xs} are in {k}?",
        "How many {xs} are there in {k}?",
        "How many {xs} can you see in {k}?",
        "Count the {xs} in {k}.",
        "What is the number of {xs} in {k}?",
        "Tell me how many {xs} {k} shows.",
    ),
    "count_all": (
        "How many {xs} are there in {all}?",
        "How many {xs} can you see altogether?",
        "Count the {xs} in {all}.",
        "How many {xs} do the images show in total?",
        "What is the number of {xs} in {all}?",
    ),
    # Follow-ups rest on the turn before.
    "then_image": (
        "And in {k}?",
        "And {k}?",
        "What about {k}?",
        "How about {k}?",
        "The same for {k}, please.",
        "Now do {k}.",
    ),
    "then_parts": (
        "And {its} parts?",
        "Which parts of {it} can you see?",
        "What about {its} parts?",
        "Now segment {its} parts.",
        "Show me {its} parts too.",
        "Can you show me {its} parts?",
    ),
    "then_thing": (
        "And {the_x}?",
        "What about {the_x}?",
        "How about {the_x}?",
        "And where {is_x} {the_x}?",
        "Now {the_x}, please.",
        "Can you also show {the_x}?",
    ),
}

ONLY_IMAGE_WORDS: tuple[str, ...] = ("image 1", "the image", "this image", "the picture", "this photo")

ALL_WORDS: tuple[str, ...] = ("all images", "each image", "every image", "all of these images")


REQUESTS: dict[str, tuple[str, ...]] = {
    "expression": (
        "Segment {x}.",
        "Find {x}.",
        "Where is {x}?",
        "Show me {x}.",
        "Mark {x} in the image.",
        "Please segment {x}.",
        "Can you outline {x}?",
        "Which area is {x}?",
    ),
    "sentence": (
        "{x} Please segment it.",
        "{x} Answer with a mask.",
        "{x} Mark the area in the image.",
        "{x}",
        "{x} Show me where.",
        "{x} Please output the segmentation mask.",
    ),
    "caption": (
        "Describe the image and segment what you mention.",
        "What is in this image? Mark everything that you name.",
        "Give me a description of the picture with a mask for each thing.",
        "Describe this photo in detail, with masks.",
        "Tell me what the image shows, and outline it.",
        "Please caption the image and ground the phrases.",
    ),
}
"""For data that brings its own text: `{x}` is the expression or the question of the file."""
