r"""Records made by a chat model: every reply cached on the disk, runs resumable, rejects with reasons.

Both data pipelines are built on this (`segue.datasets.prist`, `segue.datasets.m4seg`). A job is a list of
items and a generator function that, for each item, yields what shall be asked and returns records:

    class Colours(BaseModel, extra="forbid"):
        colours: list[str]

    def at_least_two(reply: Colours) -> list[str]:
        if len(reply.colours) < 2:
            raise broken("too few colours", f"it names {len(reply.colours)} colours; name at least 2")
        return reply.colours

    def make(item: Item) -> Flow:
        question = Message("user", (load_image(item.payload), "Which colours does this show? ..."))
        colours = yield Ask("colours", [question], Colours, at_least_two)
        return [{"id": item.id, "colours": colours}]

    job = GenerationJob("colours", [Item("a", "a.png")], make, identity={"rules": 1})
    with Generation(job, model, "out", budget=Budget(max_requests=100)) as generation:
        print(*generation.estimate().lines(), sep="\n")
        report = generation.run()
"""

from segue.datasets.generation.asking import Ask, prompt, prompt_digest, read_reply
from segue.datasets.generation.estimate import Estimate
from segue.datasets.generation.job import Flow, GenerationJob, GivenUpError, Item, Record
from segue.datasets.generation.output import GenerationReport, model_of_report
from segue.datasets.generation.problems import Problem, UnusableItemError, UnusableReplyError, broken
from segue.datasets.generation.run import Generation, GenerationSettings

__all__ = [
    "Ask",
    "Estimate",
    "Flow",
    "Generation",
    "GenerationJob",
    "GenerationReport",
    "GenerationSettings",
    "GivenUpError",
    "Item",
    "Problem",
    "Record",
    "UnusableItemError",
    "UnusableReplyError",
    "broken",
    "model_of_report",
    "prompt",
    "prompt_digest",
    "read_reply",
]
