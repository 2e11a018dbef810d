"""Labeling configurations as projects have them."""

import pytest

from segue.apps.label_studio.label_config import read_config
from segue.errors import InputError

LIST = """<View>
  <!-- several pictures in one task -->
  <Image name="img" valueList="$images"/>
  <BrushLabels name="tag" toName="img"><Label value="Red mug" alias="mug"/><Label value="lamp"/></BrushLabels>
  <PolygonLabels name="poly" toName="img"><Label value="lamp"/></PolygonLabels>
  <TextArea name="prompt" toName="img"/>
</View>"""


def test_a_list_of_images() -> None:
    config = read_config(LIST)
    (image,) = config.images
    assert (image.name, image.key, image.several) == ("img", "images", True)
    control = config.controls["img"]
    assert (control.name, control.kind) == ("tag", "brushlabels")
    assert control.labels == {"mug": "Red mug", "lamp": "lamp"}
    assert read_config(LIST, "polygon").controls["img"].name == "poly"


def test_two_images_side_by_side() -> None:
    text = """<View><Image name="a" value="$left"/><Image name="b" value="$right"/>
    <Image name="c" value="$x"/>
    <PolygonLabels name="p" toName="a"><Label value="cat"/></PolygonLabels>
    <PolygonLabels name="q" toName="b" value="$names"/></View>"""
    config = read_config(text, "brush")
    assert [(image.key, image.several) for image in config.images] == [("left", False), ("right", False)]
    names = [{"value": "Old dog", "alias": "dog"}, "cow", 3]
    assert config.controls["b"].labels_of({"names": names}) == {"dog": "Old dog", "cow": "cow"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read"),
        ("<View>", "cannot be read"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><View/>', "cannot be read"),
        ('<View><Image name="i" value="$i"/></View>', "nothing to draw masks with"),
        (
            '<View><Image name="i" value="$i"/><BrushLabels name="b" toName="j"/></View>',
            "nothing to draw masks with",
        ),
    ],
)
def test_what_cannot_be_used_is_told(text: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_config(text)
