"""Segue: grounded conversations over several images.

Ask a question about two or three pictures; every phrase of the answer that names something visible comes with
a pixel mask in the right image::

    import segue

    session = segue.load("segue-mini").session(images=["kitchen.jpg", "office.jpg"])
    answer = session.ask("Which of the two has a red mug?")
    for grounding in answer.groundings:
        print(grounding.phrase, grounding.image_index, grounding.mask.shape)

Names are imported when they are first used, so `import segue` is instant and loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from segue.errors import AlignmentError as AlignmentError
    from segue.errors import ImageError as ImageError
    from segue.errors import InputError as InputError
    from segue.errors import ModelError as ModelError
    from segue.errors import RecordError as RecordError
    from segue.errors import SegueError as SegueError
    from segue.images import load_image as load_image
    from segue.inference.loaded_model import LoadedModel as LoadedModel
    from segue.inference.session import GroundingSession as GroundingSession
    from segue.loading import load as load
    from segue.protocol import parse as parse
    from segue.protocol import render as render
    from segue.records import Conversation as Conversation
    from segue.records import GroundedAnswer as GroundedAnswer
    from segue.records import Grounding as Grounding
    from segue.records import ImageRef as ImageRef
    from segue.records import Region as Region
    from segue.records import Span as Span
    from segue.records import Turn as Turn
    from segue.records import read_jsonl as read_jsonl
    from segue.records import write_jsonl as write_jsonl
    from segue.verbs import evaluate as evaluate
    from segue.verbs import read_data as read_data
    from segue.verbs import train as train

# Public name -> the module that defines it. The order is the order in which a newcomer needs them.
_PUBLIC: dict[str, str] = {
    # Ask
    "load": "segue.loading",
    "LoadedModel": "segue.inference.loaded_model",
    "GroundingSession": "segue.inference.session",
    "load_image": "segue.images",
    # What comes back
    "GroundedAnswer": "segue.records",
    "Grounding": "segue.records",
    # Own data, training, measuring
    "read_data": "segue.verbs",
    "train": "segue.verbs",
    "evaluate": "segue.verbs",
    # Conversations as data
    "Conversation": "segue.records",
    "ImageRef": "segue.records",
    "Region": "segue.records",
    "Turn": "segue.records",
    "Span": "segue.records",
    "read_jsonl": "segue.records",
    "write_jsonl": "segue.records",
    # The text protocol
    "parse": "segue.protocol",
    "render": "segue.protocol",
    # What can go wrong
    "SegueError": "segue.errors",
    "InputError": "segue.errors",
    "ImageError": "segue.errors",
    "RecordError": "segue.errors",
    "AlignmentError": "segue.errors",
    "ModelError": "segue.errors",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, then keep it in the module so that the next use is free."""
    module = _PUBLIC.get(name)
    if module is None:
        raise AttributeError(f"module 'segue' has no attribute {name!r}; public names: {', '.join(_PUBLIC)}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
