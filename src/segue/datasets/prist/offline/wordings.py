"""The sentences of rule-based dialogues. `{is_it}` and the like agree with what they speak of."""

from __future__ import annotations

LOOK = (
    "What can you see in this picture?",
    "What is there in the image?",
    "Tell me what the picture shows.",
    "Which things do you recognise here?",
    "What do we have here?",
    "Give me an overview of this image, please.",
)
LOOKED = ("I can see {list}.", "The picture shows {list}.", "Here we have {list}.", "I recognise {list}.")

FIRST = (
    "Which of the things in this picture {one}?",
    "I am looking for something that {one}. What could it be?",
    "What in this image {one}?",
    "Can you tell me which things {many}?",
    "Is there something that {one}?",
    "I want something that {one}.",
    "Look at the picture: what {one}?",
)
FIRST_BEST = (
    "Which thing in this picture {one}?",
    "What {one} of all things here?",
    "I am after the one thing that {one}.",
    "Of everything that you see, what {one}?",
)
NEXT = (
    "Which of them {one}?",
    "And which of those {one}?",
    "I mean one that {one}.",
    "I think that it {one}.",
    "Only keep what {one}.",
    "Are there any among them that {many}?",
    "It should be one that {one}.",
    "The right one {one}.",
    "Which of these {one}?",
)
NEXT_BEST = (
    "Which of them {one}?",
    "And which of those {one}?",
    "I mean the one that {one}.",
    "The one that {one}, please.",
    "Of these, take the one that {one}.",
    "The right one is the one that {one}.",
    "Out of them, which {one}?",
)
PARTS_BEST = (
    "Which of the visible parts of {it} {one}?",
    "I am more interested in one part of {it}: the one that {one}.",
    "And of its parts, which {one}?",
    "Only the part of {it} that {one}, please.",
)
LEFT_SEVERAL = (
    "That leaves {list}.",
    "{list}.",
    "There are {n}: {list}.",
    "That is true of {list}.",
    "{n} things: {list}.",
    "I would say {list}.",
)
LEFT_COUNT = (
    "That leaves {n} things.",
    "There are {n} of that kind.",
    "{n} things come into question.",
    "It could still be one of {n} things.",
)
LEFT_ONE = (
    "That leaves {list}.",
    "Only {list}.",
    "{list}.",
    "Just one: {list}.",
    "It comes down to {list}.",
    "You must mean {list}.",
    "That would have to be {list}.",
)
LEFT_ONE_UNNAMED = (
    "That leaves only one.",
    "Exactly one thing fits.",
    "There is just one of that kind.",
    "Then I know which one you mean.",
    "Only a single one of them does.",
    "All right, then it is clear which one.",
)
PART_UNNAMED = (
    "One part of it does.",
    "Then I know which part you mean.",
    "That is true of one part only.",
    "There is one such part.",
)
MOVED_UNNAMED = ("I see which one you mean.", "Then I know which one you mean.", "All right, that one then.")
ASK_ABSENT = (
    "Is there {a_x} in the picture?",
    "Can you see {a_x}?",
    "I am looking for {a_x}. Is there one?",
    "Do you see {a_x} anywhere?",
)
ABSENT = ("No, there is no {x} here.", "No, I cannot see any {x}.", "There is no {x} in this picture.")
ASK_NONE = ("Is any of them {colour}?", "Is one of these {colour}?", "Are there {colour} ones among them?")
NONE = ("No, none of them is {colour}.", "None of these is {colour}.", "No, not one of them.")
ASK_SEVERAL = (
    "Where is the {x}?",
    "I need the {x}.",
    "Can you find the {x}?",
    "Please find me the {x}.",
    "It is the {x} that I am after.",
    "Show me the {x}.",
)
SEVERAL = (
    "There are {n} {xs}: {list}. Which one do you mean?",
    "I can see {n} {xs}. Which of them do you mean?",
    "Which one? There are {n} {xs}.",
    "There is more than one {x}: {list}.",
)
ASK_COLOUR = ("What colour {is_it}?", "Which colour {does_it} have?", "And the colour of {it}?")
COLOUR = ("{It_is} {colour}.", "{colour}.", "I would call {it} {colour}.")
ASK_SIDE = ("{Is_it} on the left or on the right?", "On which side of the picture {is_it}?")
SIDE = ("On the {side}.", "{It_is} on the {side}.", "To the {side} of the middle.")
ASK_LARGEST = ("{Is_it} the largest thing in the picture?", "Does nothing here look larger than {it}?")
LARGEST = ("Yes, nothing else looks as large.", "Yes, {it} take{s} up the most space.")
NOT_LARGEST = ("No, something else looks larger.", "No, there is something larger.")
ASK_OTHERS = ("Are there more of that kind?", "{Is_it} the only {x}?", "How many {xs} are there in total?")
ONLY_ONE = ("There is only this one.", "Just this one.")
THERE_ARE = ("There are {n} in total.", "{n} in total.")
ASK_PARTS = ("Which parts of {it} can you see?", "What parts of {it} are visible?", "What belongs to {it}?")
PARTS = ("I can see {list}.", "{list}.", "Visible are {list}.")
ASK_PURPOSE = (
    "Which part of {it} is used to {purpose}?",
    "And what part of {it} serves to {purpose}?",
    "Which of its parts would one need to {purpose}?",
    "I am interested in the part of {it} that is used to {purpose}.",
)
ASK_CLOSEST = (
    "What is closest to {it}?",
    "And what stands nearest to {it}?",
    "Actually, I want the thing closest to {it}.",
    "What is right next to {it}, closer than anything else?",
)
ASK_BESIDE = (
    "What comes next on the {side} side of {it}?",
    "And which is the nearest thing to the {side} of {it}?",
    "Go on to the {side} of {it}: what is the nearest thing there?",
)
ASK_OTHER = (
    "No, not that one. The other one.",
    "I meant the other one of the two.",
    "Wrong one, I want the other of the two.",
    "Not that. What about the other one?",
)
OTHER = ("Then it is {list}.", "All right: {list}.", "I see, {list}.", "Then you mean {list}.")
OTHER_UNNAMED = (
    "All right, the other one then.",
    "Then it is the other of the two.",
    "I see, the other one.",
)
