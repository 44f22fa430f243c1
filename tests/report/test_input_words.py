"""Sections of studies of texts: sentences on images become sentences on texts, names and numbers stay."""

import altair as alt
import polars as pl
import pytest

from transferscope.input_nouns import of_texts, spoken
from transferscope.report.input_words import docstring_on, section_on
from transferscope.report.wording import interval
from transferscope.section import Card, Chart, DataSet, Finding, Section, View


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("On 12 test images an image is left out.", "On 12 test texts a text is left out."),
        ("Images of 'my images' differ.", "Texts of 'my images' differ."),
        ("The network's error on the parent's images", "The network's error on the parent's texts"),
        ("An image has pictures; convert them to PNG or JPEG.", "A text has texts; convert them to plain text."),
        ("'a' begins \"A picture of an image\" in images.", "'a' begins \"A picture of an image\" in texts."),
        ("ImageNet weights, imagery", "ImageNet weights, imagery"),
    ],
)
def test_sentences(said: str, wanted: str) -> None:
    assert of_texts(said) == wanted
    assert spoken(said, "images") == said


def test_sentences_on_arrays() -> None:
    said = "An image of 12 images, a picture in PNG or JPEG, the image's side"
    assert spoken(said, "arrays") == "An array of 12 arrays, an array in arrays of numbers, the array's side"


def test_a_section_is_reworded_and_its_names_stay() -> None:
    rows = pl.DataFrame({"images": [1, 2], "score": [0.1, 0.2]})
    spec = alt.Chart(rows).mark_line().encode(x=alt.X("images:Q", title="training images"), y="score:Q")
    section = Section(
        "The images",
        findings=[Finding("On images it gains.", 1.0, 0.5, 1.5, 3, "points", images=40)],
        charts=[Chart("images-curve", "Images", spec, "Test images.")],
        tables=[View("images", "Images of images", rows)],
        cards=[Card("Gain", "yes", "Images help", target="images")],
        data=[DataSet("images", 1, 2, 3, 2)],
        notes=["An image is odd."],
    )
    found = section_on(section, "texts")
    assert found.title == "The texts" and found.findings[0].text == "On texts it gains."
    assert interval(found.findings[0]).endswith("3 seeds, 40 texts")
    assert interval(section.findings[0]).endswith("3 seeds, 40 images")
    assert found.charts[0].name == "images-curve" and found.charts[0].caption == "Test texts."
    encoded = found.charts[0].spec["encoding"]["x"]
    assert encoded["title"] == "training texts" and encoded["field"] == "images"
    assert found.tables[0].rows.equals(rows) and found.cards[0].target == "images"
    assert found.data[0].noun == "texts" and found.notes == ["A text is odd."]


def test_what_speaks_of_texts_itself_stays() -> None:
    said = "Images are cut. Of texts, tokens are."
    assert docstring_on(said, "texts") == said and docstring_on("Images.", "texts") == "Texts."
