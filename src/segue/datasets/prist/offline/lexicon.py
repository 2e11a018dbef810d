"""Purposes and categories of kinds of things: enough for questions that need common sense.

A table is trusted only as far as it goes: a clue about purposes is used when every thing that it is about is
in the table, so that nothing is said of things that it does not know.
"""

from __future__ import annotations

from types import MappingProxyType

from segue.scenes.kinds import COLOURS, KINDS

COLOUR_NAMES = frozenset(COLOURS)

# category -> (singular, plural) as a noun phrase
CATEGORIES = MappingProxyType(
    {
        "animal": ("an animal", "animals"),
        "vehicle": ("a vehicle", "vehicles"),
        "container": ("a container", "containers"),
        "furniture": ("a piece of furniture", "pieces of furniture"),
        "furnishing": ("a furnishing", "furnishings"),
        "food": ("something to eat", "things to eat"),
        "tool": ("a tool", "tools"),
        "instrument": ("an instrument", "instruments"),
        "plant": ("a plant", "plants"),
        "accessory": ("an accessory", "accessories"),
        "building": ("a building", "buildings"),
        "clothing": ("something to wear", "things to wear"),
        "electronics": ("an electronic device", "electronic devices"),
        "appliance": ("a household appliance", "household appliances"),
        "sport": ("a piece of sports equipment", "pieces of sports equipment"),
        "person": ("a person", "people"),
    }
)

_MORE = {
    "animal": "bird cat dog horse sheep cow elephant bear zebra giraffe",
    "vehicle": "bicycle car motorcycle airplane bus train truck boat",
    "container": "bottle|wine glass|cup|bowl|vase",
    "furniture": "chair|couch|bed|dining table|bench",
    "food": "banana|apple|sandwich|orange|broccoli|carrot|hot dog|pizza|donut|cake",
    "accessory": "backpack|umbrella|handbag|suitcase",
    "clothing": "coat shirt dress skirt jacket tie hat shoes trousers scarf",
    "electronics": "tv|laptop|mouse|remote|keyboard|cell phone",
    "appliance": "microwave|oven|toaster|refrigerator",
    "sport": "frisbee|skis|snowboard|sports ball|kite|baseball bat|baseball glove|skateboard|surfboard"
    "|tennis racket",
    "tool": "scissors hammer",
    "person": "person",
}
_PURPOSES = {
    "cup": "drink coffee from",
    "wine glass": "drink wine from",
    "chair": "sit on at a table",
    "couch": "sit on with friends",
    "bed": "sleep in",
    "bus": "ride with many others",
    "bicycle": "ride with your own strength",
    "umbrella": "stay dry in the rain",
    "suitcase": "pack clothes for a journey",
    "backpack": "carry things on your back",
    "knife": "cut bread",
    "fork": "pick up food with",
    "spoon": "eat soup with",
    "bowl": "eat soup from",
    "clock": "tell the time",
    "toothbrush": "clean your teeth",
    "hair drier": "dry your hair",
    "scissors": "cut paper",
    "refrigerator": "keep food cold",
    "toaster": "toast bread",
    "microwave": "warm up a meal in a minute",
    "oven": "bake a cake",
    "sink": "wash your hands",
    "toilet": "flush",
    "laptop": "write an email",
    "keyboard": "type a text",
    "cell phone": "call somebody",
    "remote": "change the channel",
    "vase": "put flowers in",
    "kite": "let fly in the wind",
    "skateboard": "roll along standing up",
    "surfboard": "ride the waves",
    "tie": "wear around your neck",
    "book": "read a story",
    "traffic light": "know when to cross",
    "fire hydrant": "fetch water against a fire",
    "bench": "sit down in the park",
}


def _words(text: str) -> list[str]:
    # With bars where a noun has two words: "wine glass|cup".
    return text.split("|") if "|" in text else text.split()


_CATEGORY_OF = {noun: category for category, nouns in _MORE.items() for noun in _words(nouns)}
_CATEGORY_OF |= {name: kind.category for name, kind in KINDS.items()}
_PURPOSES_OF: dict[str, tuple[str, ...]] = {noun: (purpose,) for noun, purpose in _PURPOSES.items()}
# What animals of the scenes are "used" for reads oddly in a sentence about purposes.
_PURPOSES_OF |= {name: kind.purposes for name, kind in KINDS.items() if kind.category != "animal"}


def category_of(noun: str) -> str:
    """A key of `CATEGORIES`, or "" for a noun that is not in the table."""
    return _CATEGORY_OF.get(noun, "")


def purposes_of(noun: str) -> tuple[str, ...]:
    """Return a purpose, to follow "one can use it to"; empty for a noun that is not in the table."""
    return _PURPOSES_OF.get(noun, ())


def part_purposes_of(noun: str, part: str) -> tuple[str, ...]:
    """Return what a part is used to do, to follow "the part that is used to"; empty when unknown."""
    kind = KINDS.get(noun)
    return () if kind is None else kind.part_purposes.get(part, ())


__all__ = ["CATEGORIES", "COLOUR_NAMES", "category_of", "part_purposes_of", "purposes_of"]
