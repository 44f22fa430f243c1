"""What a person, an accident or an enemy may write in a study file: plain values, or one sentence in under a second."""

import time
from pathlib import Path

import pytest
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as some

from transferscope.errors import UserError
from transferscope.study import Study, yaml_text

BASE = "targets: {d: digits}\nnetwork: timm:resnet10t\nimage_size: 32\narms: [random]\n"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join('*' + chr(97 + i) for _ in range(9))}]\n" for i in range(9)
)
BAD = {
    "a date that is none": ("recipe: {epochs: 2024-02-30}", "recipe.epochs"),
    "a date": ("seeds: 2024-01-01", "seeds"),
    "an integer of 5,000 digits": ("recipe: {epochs: " + "9" * 5000 + "}", "cannot be read"),
    "a hexadecimal one": ("seeds: 0x" + "f" * 5000, "at most 10,000 seeds"),
    "a hundred million seeds": ("seeds: 100000000", "at most 10,000 seeds"),
    "a negative seed": ("seeds: [-1]", "seeds.0"),
    "a seed of 30 digits": ("seeds: [" + "9" * 30 + "]", "seeds.0"),
    "3,000 brackets": ("analyses: " + "[" * 3000 + "]" * 3000, "more than 50 deep"),
    "2,000 braces": ("analyses: " + "{a: " * 2000 + "1" + "}" * 2000, "more than 50 deep"),
    "60 brackets": ("analyses: " + "[" * 60 + "]" * 60, "more than 50 deep"),
    "a billion values": (BOMB, "more than 100,000 values"),
    "a value in itself": ("analyses: &x {transfer: *x}", "holds itself"),
    "a lone surrogate": ('name: "\\ud800"', "cannot be written"),
    "a NUL": ('resources: {store: "a\\0b"}', "cannot be written"),
    "a million characters": ("name: " + "x" * 1_000_000, "the most that are read"),
    "a key twice": ("seeds: 2\nseeds: 3", "the key 'seeds' stands twice"),
    "code": ('name: !!python/object/apply:os.system ["ls"]', "not valid YAML"),
    "a list as key": ("? [a, b]\n: 5", "not valid YAML"),
    "two documents": ("---\n" + BASE, "not valid YAML"),
    "base64 that is none": ("name: !!binary abc", "not valid YAML"),
    "a growing rate": ("recipe: {gamma: -5}", "recipe.gamma"),
    "a crop of nothing": ("recipe: {augment: {scale: [-1, 5]}}", "recipe.augment: scale"),
    "a range upside down": ("recipe: {augment: {scale: [0.9, 0.1]}}", "recipe.augment: scale"),
    "a ratio of 0": ("recipe: {augment: {ratio: [0, 1]}}", "recipe.augment: ratio"),
    "a drop after the end": ("recipe: {milestones: [0.5, 7]}", "recipe.milestones"),
    "no number": ("recipe: {weight_decay: .nan}", "recipe.weight_decay"),
    "an endless warmup": ("recipe: {warmup: 1.0e+300}", "recipe.warmup"),
    "an epoch that never ends": ("recipe: {epochs: 1000000000000}", "recipe.epochs"),
    "a picture of a terapixel": ("recipe: {table_size: 1000000}", "recipe.table_size"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_values_get_one_sentence_at_once(tmp_path: Path, what: str) -> None:
    text, said = BAD[what]
    (file := tmp_path / "study.yaml").write_text(BASE + text + "\n", encoding="utf-8")
    began = time.process_time()
    with pytest.raises(UserError) as caught:
        Study.load(file)
    assert time.process_time() - began < 5  # under one on a quiet machine
    sentence = str(caught.value)
    assert sentence.startswith(str(file)) and said in sentence and "\n" not in sentence and len(sentence) < 400


def test_dates_are_texts_and_aliases_are_fine(tmp_path: Path) -> None:
    (file := tmp_path / "study.yaml").write_text(BASE + "name: 2024-01-01\nrecipe: {lr: &r 0.1, gamma: *r}\n")
    study = Study.load(file)
    assert (study.name, study.recipe.gamma) == ("2024-01-01", 0.1)


@settings(max_examples=150, deadline=None)
@examples(some.data())
def test_a_mutated_file_is_read_or_refused_in_one_sentence(data: some.DataObject) -> None:
    recipe = "recipe: {epochs: 2, lr: [0.1, 0.2], augment: {scale: [0.5, 1.0]}}"
    text = list(f"{BASE}seeds: 3\n{recipe}\nanalyses: {{transfer: {{}}}}\n")
    for _ in range(data.draw(some.integers(1, 6))):
        at = data.draw(some.integers(0, len(text) - 1))
        text[at] = data.draw(some.one_of(some.characters(), some.sampled_from("[]{}&*:!?-\n\t\"'#,%@`0e.")))
    said = "here"
    try:
        value = yaml_text.read("".join(text), "here")
        if isinstance(value, dict):
            Study.parse(value, where="here")
    except UserError as error:
        said = str(error)
    assert said.startswith("here") and "\n" not in said
