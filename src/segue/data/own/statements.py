"""Statements about a set of images from names and masks alone, each one grounded."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from segue.data.language import english
from segue.data.language.grounded_text import RegionText
from segue.data.own.things import Inventory, Thing

MAX_NAMES = 6
"""The most names that one answer lists."""


class Statements:
    """Sentences about a set of images.

    Args:
        images: What each image shows, in the order in which the text numbers them.
    """

    def __init__(self, images: Sequence[Inventory]) -> None:
        self.images = images
        self.all = tuple(range(len(images)))

    def phrase(self, thing: Thing, k: int) -> str:
        """Name of a thing where it is so many: "cup", "cups", "cars' wheels"."""
        image = self.images[k]
        return thing.phrase(max(1, image.count(thing)), image.owners(thing))

    def ground(self, text: RegionText, thing: Thing, k: int) -> None:
        """Write the phrase with its regions."""
        text.ground(self.phrase(thing, k), k, tuple(self.images[k].regions[thing]))

    def the(self, text: RegionText, thing: Thing, k: int, *, where: bool = True) -> None:
        """Write "the cups in image 2"; where more may be there than is outlined, "some cups" or "a cup"."""
        text.say("the " if self.images[k].is_complete(thing) else self._some_of(thing, k))
        self.ground(text, thing, k)
        if where:
            text.say(f" in image {k + 1}")

    def some(self, text: RegionText, thing: Thing, k: int, *, counted: bool = False) -> None:
        """Write "a cup", "two cups", "hair", "one cup" (when `counted`); of a part, "the car's wheel".

        Where more may be there than is outlined, no number: "some cups", "a cup".
        """
        count = self.images[k].count(thing)
        if not self.images[k].is_complete(thing):
            text.say(self._some_of(thing, k))
        elif thing.owner:
            text.say("the ")
        elif english.is_countable(thing.name):
            one = "one" if counted else english.article(thing.name)
            text.say(f"{one if count == 1 else english.number(count)} ")
        self.ground(text, thing, k)

    def _some_of(self, thing: Thing, k: int) -> str:
        """The word before an unknown number of it."""
        if thing.owner:
            return "the "
        if not english.is_countable(thing.name):
            return ""
        return "some " if self.images[k].count(thing) > 1 else f"{english.article(thing.name)} "

    def here(self, text: RegionText, things: Sequence[Thing], k: int) -> None:
        """Write "Here is the cup in image 1.", and of what is missing that it is."""
        found = [thing for thing in things if self.images[k].has(thing)]
        if found:
            many = len(found) > 1 or found[0].takes_are(self.images[k].count(found[0]))
            text.sentence().say(f"Here {'are' if many else 'is'} ")
            text.join([self._piece(self.the, text, thing, k, where=False) for thing in found])
            text.say(f" in image {k + 1}.")
        for thing in things:
            if thing not in found:
                self.absent(text, thing, [k])

    def here_in_each(self, text: RegionText, thing: Thing) -> None:
        """Write "Here are the cup in image 1 and the cups in image 3. There is no cup in image 2."."""
        present = self.having(thing)
        if present:
            many = len(present) > 1 or thing.takes_are(self.images[present[0]].count(thing))
            text.say(f"Here {'are' if many else 'is'} ")
            text.join([self._piece(self.the, text, thing, k) for k in present]).say(".")
        self.absent(text, thing, self.lacking(thing))

    def exists(
        self, text: RegionText, thing: Thing, *, lead: str = "", counted: bool = False, k: int | None = None
    ) -> None:
        """Write "There is a cup in image 1 and two cups in image 2. There is no cup in image 3.".

        Args:
            text: Continued.
            thing: What it is about.
            lead: Words before, such as "Yes, ".
            counted: Whether the number matters ("one cup").
            k: One image; by default all.
        """
        images = self.all if k is None else (k,)
        present = [i for i in images if self.images[i].has(thing)]
        if present:
            are = thing.takes_are(self.images[present[0]].count(thing))
            opening = "you can see " if thing.owner else f"there {'are' if are else 'is'} "
            text.say(lead + (opening if lead else opening.capitalize()))
            text.join([self._piece(self._some_in, text, thing, i, counted) for i in present]).say(".")
        self.absent(text, thing, [i for i in images if i not in present])

    def absent(self, text: RegionText, thing: Thing, images: Sequence[int], *, lead: str = "") -> None:
        """Write "There is no cup in images 1 and 3."; of a part, "The car's wheel is not visible in ..."."""
        if not images:
            return
        verb = "are" if thing.takes_are(1) else "is"
        if thing.owner:
            # "There is no car's wheel" would deny what the picture may only hide.
            said = f"the {thing.phrase()} {verb} not visible"
        else:
            said = f"there {verb} no {thing.phrase()}"
        said = lead + said if lead else said[0].upper() + said[1:]
        text.sentence().say(f"{said} in {numbered(images)}.")

    def shows(self, text: RegionText, k: int) -> None:
        """Write "Image 1 shows a dog and two cups.", the largest `MAX_NAMES` kinds of objects."""
        image = self.images[k]
        # "Image 1 shows ..." claims that this is all of it.
        complete = len(image.objects) <= MAX_NAMES and not image.image.unsure and image.image.absent is None
        opening = f"Image {k + 1} shows" if complete else f"Among other things, image {k + 1} shows"
        text.say(f"{opening} ")
        text.join([self._piece(self.some, text, thing, k) for thing in image.objects[:MAX_NAMES]]).say(".")

    def parts(self, text: RegionText, owner: Thing, k: int) -> None:
        """Write "In image 1 you can see the car's hood and the car's wheel."."""
        parts = self.images[k].parts_of(owner)
        lead = "you can see, among other parts," if len(parts) > MAX_NAMES else "you can see"
        text.say(f"In image {k + 1} {lead} ")
        text.join([self._piece(self.some, text, part, k) for part in parts[:MAX_NAMES]]).say(".")

    def total(self, text: RegionText, thing: Thing) -> None:
        """Write "There are three cups in all: two cups in image 1 and one cup in image 2."."""
        present = self.having(thing)
        if len(present) < 2:
            self.exists(text, thing, counted=True)
            return
        count = sum(self.images[k].count(thing) for k in present)
        text.say(f"There are {english.number(count)} {thing.phrase(count)} in all: ")
        text.join([self._piece(self._some_in, text, thing, k, True) for k in present]).say(".")
        self.absent(text, thing, self.lacking(thing))

    def sizes(self, text: RegionText, thing: Thing, ratio: float) -> bool:
        """Write which one fills most of its picture; False, and nothing, where that is too close to call.

        Args:
            text: Continued.
            thing: One region of it in each image that shows it, in two images at least.
            ratio: How many times as large an area must be to be called larger.
        """
        order = sorted(self.having(thing), key=lambda k: -self.images[k].share(thing))
        shares = [self.images[k].share(thing) for k in order]
        if shares[0] >= ratio * shares[1]:
            text.say("The ")
            self.ground(text, thing, order[0])
            verb = "take" if thing.takes_are(1) else "takes"
            text.say(f" in image {order[0] + 1} {verb} up more of its picture than ")
            text.join([self._piece(self.the, text, thing, k) for k in sorted(order[1:])]).say(".")
        # All within the ratio. Between the two cases nothing is said: the order would be a matter of opinion.
        elif shares[0] < ratio * shares[-1]:
            first = len(text.text)
            text.join([self._piece(self.the, text, thing, k) for k in sorted(order)])
            # A letter for a letter, so that the spans stay right.
            text.text = text.text[:first] + text.text[first:].replace("the ", "The ", 1)
            text.say(" are about equally large.")
        else:
            return False
        self.absent(text, thing, self.lacking(thing))
        return True

    def having(self, thing: Thing) -> list[int]:
        """The images that show it."""
        return [k for k in self.all if self.images[k].has(thing)]

    def lacking(self, thing: Thing) -> list[int]:
        """The images that do not."""
        return [k for k in self.all if not self.images[k].has(thing)]

    def _some_in(self, text: RegionText, thing: Thing, k: int, counted: bool) -> None:
        self.some(text, thing, k, counted=counted)
        text.say(f" in image {k + 1}")

    @staticmethod
    def _piece(write: Callable[..., None], *arguments: object, **options: object) -> Callable[[], object]:
        return lambda: write(*arguments, **options)


def numbered(images: Sequence[int]) -> str:
    """Name images by number: "image 2", "images 1 and 3"."""
    numbers = [str(k + 1) for k in images]
    return f"image{'s' if len(numbers) > 1 else ''} {english.listed(numbers)}"
