"""For each reason of a COCO reader's drop: what would have been right, and what to do."""

from __future__ import annotations

ADVICE: dict[str, tuple[str, str]] = {
    "crowd region": (
        "one object per annotation (iscrowd 0)",
        "nothing if it outlines a group; if each outlines one object, keep them with --keep-crowds",
    ),
    "no segmentation": ("polygons or RLE in `segmentation`", "boxes alone do not do: outline the object"),
    "no usable polygon": ("at least 3 points x, y, all finite", "draw the polygon again"),
    "empty mask": ("at least one pixel inside", "draw the object again, or delete the annotation"),
    "damaged run lengths": ("COCO RLE of the image's size", "encode the mask again with pycocotools"),
    "mask size differs from image size": (
        "an RLE with the image's (height, width)",
        "resize the mask, or correct the image's height and width",
    ),
    "mask contradicts its bbox": (
        "a mask whose own box overlaps the bbox [x, y, width, height] by half",
        "look at the annotation in your tool, and export it again; a bbox that is only stale may be removed",
    ),
    "mask contradicts its area": (
        "a mask of about `area` pixels",
        "look at the annotation in your tool, and export it again; an area that is only stale may be removed",
    ),
    "unknown category": ("a category_id listed in `categories`", "add the category"),
    "repeated category id": ("one name for each id in `categories`", "number the categories again"),
    "part without parent": ("an object of the part's class below it", "set obj_ann_id to the object's id"),
    "image file not found": ("an image file of this name", "pass the folder of the images with --images"),
    "several image files of this name": (
        "one file of this name below the folder of the images",
        "pass the folder with the right ones with --images, or write the folders into file_name",
    ),
    "image cannot be read": ("an image file", "save or download it again"),
    "image without size": ("height and width above 0", "write them, or pass the folder of the images"),
    "image size differs from its record": (
        "the height and width that the annotation file states",
        "use the pictures that were annotated, neither resized nor turned, or export the annotations again",
    ),
    "coordinates lie beyond the image": (
        "coordinates in pixels of this picture",
        "use the pictures that were annotated, or scale the coordinates with them",
    ),
    "image too large": ("fewer pixels", "make the image smaller"),
    "image without file_name or id": ("`file_name` and `id`", "complete the record"),
    "image without annotation": ("at least one annotation", "nothing, if the image shows none of the names"),
    "image without usable annotation": ("at least one sound annotation", "repair what is listed above"),
    "image not in the file": ("an image_id listed in `images`", "add the image"),
    "repeated image id": ("one id for each image", "number images and annotations again, or merge anew"),
    "annotation of a repeated image id": ("an id that one image has", "number the images again"),
    "annotation listed twice": ("each annotation once", "nothing"),
    **{
        f"{why}, and {what}": (
            "the size of the picture as it is looked at, upright",
            "save the pictures turned upright, without EXIF orientation, and export the annotations again",
        )
        for why in ("EXIF orientation swaps height and width", "height and width are swapped")
        for what in ("the coordinates fit both frames", "coordinates of both frames occur")
    },
}
