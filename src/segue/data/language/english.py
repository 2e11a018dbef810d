"""English for names that nobody has seen before: articles, plurals and possessives by rule.

The names come from a user's file ("wine glass", "trousers", "chest of drawers"), so the number of a noun is
guessed from its last word (the word before "of").
"""

from __future__ import annotations

from collections.abc import Sequence

_NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")

_IRREGULAR = {
    **{"person": "people", "child": "children", "foot": "feet", "tooth": "teeth", "goose": "geese"},
    **{"mouse": "mice", "ox": "oxen", "die": "dice", "louse": "lice", "cactus": "cacti", "quiz": "quizzes"},
    **{"knife": "knives", "leaf": "leaves", "shelf": "shelves", "wolf": "wolves", "loaf": "loaves"},
    **{"half": "halves", "calf": "calves", "scarf": "scarves", "wife": "wives", "life": "lives"},
    **{"thief": "thieves", "hoof": "hooves", "elf": "elves", "axis": "axes", "bus": "buses", "gas": "gases"},
    **{"potato": "potatoes", "tomato": "tomatoes", "mango": "mangoes", "echo": "echoes", "hero": "heroes"},
    **{"buffalo": "buffaloes", "mosquito": "mosquitoes", "volcano": "volcanoes", "torpedo": "torpedoes"},
}
_UNCHANGED = frozenset(
    {"sheep", "fish", "deer", "aircraft", "spacecraft", "moose", "bison", "species", "series", "salmon"}
    | {"shrimp", "trout", "swine", "offspring", "chassis", "hovercraft", "watercraft"}
)
_ALWAYS_PLURAL = frozenset({"people", "men", "women", "cattle", "police", "clothes", *_IRREGULAR.values()})
_MASS = frozenset(
    {"hair", "fur", "skin", "grass", "water", "sand", "snow", "rice", "bread", "furniture", "luggage"}
    | {"clothing", "food", "mud", "ice", "fog", "foliage", "vegetation", "traffic", "equipment", "jewelry"}
    | {"jewellery", "milk", "coffee", "tea", "juice", "soup", "broccoli", "wood", "metal", "plastic"}
    | {"fabric", "smoke", "dirt", "soil", "gravel", "rubbish", "trash", "garbage", "moss", "hay", "straw"}
    | {"pasta", "spaghetti", "cheese", "butter", "meat", "fruit", "asphalt", "concrete", "rust", "foam"}
    | {"scenery", "greenery", "underwear", "footwear", "headwear", "makeup", "steam", "oil", "debris"}
)
_SINGULAR_IN_S = frozenset(
    {"gas", "canvas", "atlas", "pancreas", "christmas", "bias", "alias", "lens", "news", "rhinoceros"}
    | {"thermos", "cosmos", "chaos", "species", "series", "chassis", "axis", "mathematics", "hummus"}
)
_PLURAL_IN_IS_OR_US = frozenset(
    {"skis", "taxis", "bikinis", "kiwis", "zucchinis", "rabbis", "menus", "emus", "gnus", "tutus"}
)
_SINGULAR_IN_MEN = frozenset({"specimen", "regimen", "abdomen", "stamen", "omen", "ramen", "lumen"})
_MAN_BUT_NOT_MEN = frozenset({"human", "german", "roman", "ottoman", "talisman", "caiman", "shaman"})


def _split_head(noun: str) -> tuple[str, str, str]:
    """`chest of drawers` -> ("", "chest", " of drawers"); `wine glass` -> ("wine ", "glass", "")."""
    front, of, rest = noun.partition(" of ")
    before, blank, head = front.rpartition(" ")
    return before + blank, head, of + rest


def is_plural(noun: str) -> bool:
    """Tell whether a name is a plural already ("trousers", "people") and takes "are"."""
    head = _split_head(noun)[1].lower()
    if head in _ALWAYS_PLURAL or head in _PLURAL_IN_IS_OR_US:
        return True
    if head.endswith("men") and head not in _SINGULAR_IN_MEN:
        return True
    # "bus" and "gas" are too short to be plurals of anything.
    if len(head) < 4 or not head.endswith("s") or head in _SINGULAR_IN_S:
        return False
    # "glass", "cactus", "tennis".
    return not head.endswith(("ss", "us", "is"))


def is_mass(noun: str) -> bool:
    """Tell whether a name is of stuff ("grass"), which takes no article and is not counted."""
    return _split_head(noun)[1].lower() in _MASS


def is_countable(noun: str) -> bool:
    """Tell whether "two ..." can be said of a name: neither stuff nor a plural already."""
    return not is_mass(noun) and not is_plural(noun)


def plural(noun: str) -> str:
    """Form the plural: "knife" -> "knives", "chest of drawers" -> "chests of drawers", "hair" -> "hair"."""
    if not noun or not is_countable(noun):
        return noun
    before, head, after = _split_head(noun)
    return before + _plural_word(head) + after


def _plural_word(word: str) -> str:
    # "model 3" becomes "model 3s": rules of spelling are for letters.
    if word in _UNCHANGED or not word[-1:].isalpha():
        return word if word in _UNCHANGED else word + "s"
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("man") and word not in _MAN_BUT_NOT_MEN:
        return word[:-3] + "men"
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2:-1] not in tuple("aeiou"):
        return word[:-1] + "ies"
    return word + "s"


def possessive(noun: str) -> str:
    """Form the possessive: "car" -> "car's", "cars" -> "cars'", "people" -> "people's"."""
    return noun + ("'" if is_plural(noun) and noun.endswith("s") else "'s")


def article(phrase: str) -> str:
    """Return "a" or "an", by sound where the spelling misleads ("an hour", "a unicycle")."""
    word = phrase.lower()
    if word.startswith(("hour", "honest", "heir", "x-ray")):
        return "an"
    # Spoken as "yoo" or "wun".
    if word.startswith(("eu", "one", "once", "use", "usu", "uten", "ukulele", "ufo")):
        return "a"
    # "a unicycle", but "an uninflated ball": "un" before another word.
    if word.startswith("uni") and not word.startswith(("unin", "unim", "unid")):
        return "a"
    return "an" if word[:1] in tuple("aeiou") else "a"


def number(count: int) -> str:
    """Write a small number as a word: 2 -> "two"; from eleven on as digits."""
    return _NUMBER_WORDS[count] if 0 <= count < len(_NUMBER_WORDS) else str(count)


def ordinal(count: int) -> str:
    """Write a place in a row as a word: 2 -> "second"; from the tenth on as digits ("10th")."""
    return _ORDINALS[count - 1] if 0 < count <= len(_ORDINALS) else f"{count}th"


def listed(words: Sequence[str]) -> str:
    """Join as English does: "a", "a and b", "a, b and c"."""
    return "".join(words) if len(words) < 2 else f"{', '.join(words[:-1])} and {words[-1]}"
