"""File formats of annotations: COCO, LabelMe, pickles read safely, image headers."""
