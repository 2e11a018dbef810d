"""A user's own annotated data as training conversations.

    data = read_own_data(Path("my_coco.json"), images=Path("photos"))
    for line in data.report.lines():
        print(line)
    conversation = data.source.draw(np.random.default_rng(0))

Data that carries text (ReasonSeg, refCOCO, GranD-f, `gconv/1`) gives its own questions and answers; data
that is masks and names only (COCO, PACO, LabelMe) is asked about, see `docs/own_data.md`.
"""

from segue.data.formats.labelme_writing import write_labelme
from segue.data.formats.report import DroppedExample, ReadReport
from segue.data.own.detect import FORMATS, detect_format
from segue.data.own.read import read_own_data
from segue.data.own.sources import AnnotationSource, ConversationSource, OwnData, RecordSource

__all__ = [
    "FORMATS",
    "AnnotationSource",
    "ConversationSource",
    "DroppedExample",
    "OwnData",
    "ReadReport",
    "RecordSource",
    "detect_format",
    "read_own_data",
    "write_labelme",
]
