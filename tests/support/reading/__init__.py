"""Texts of a few made-up words, a tokenizer that knows them, and a BERT of some thousand parameters that reads them."""

from pathlib import Path

import numpy as np
import pytest

tokenizers = pytest.importorskip("tokenizers")

WORDS = ("red", "green", "blue", "stone", "river", "cloud", "walks", "sleeps", "sings", "old", "new", "bright")
OWN = {"storms": ("wind", "rain", "thunder"), "feasts": ("bread", "wine", "music")}  # words that tell the classes apart
BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 128,
}


def texts(folder: Path, each: int = 30, seed: int = 0) -> Path:
    """`each` texts of 3 to 20 words of every class, in a folder of its own: storms/00.txt, ..."""
    for name, own in OWN.items():
        draw = np.random.default_rng([seed, len(name)])
        (folder / name).mkdir(parents=True)
        for number in range(each):
            some = [str(word) for word in draw.choice(WORDS, int(draw.integers(2, 19)))]
            said = " ".join([str(draw.choice(own)), *some])
            (folder / name / f"{number:02d}.txt").write_text(said, encoding="utf-8")
    return folder


def tokenizer(file: Path) -> Path:
    """A tokenizer of whole words, with a [CLS] before every text and a [SEP] behind it."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *(word for own in OWN.values() for word in own)]
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    file.parent.mkdir(parents=True, exist_ok=True)
    made.save(str(file))
    return file


def network(folder: Path, *, pooling: str | None = "mean", seed: int = 1) -> Path:
    """A small BERT with random weights and its tokenizer in `folder`, with `pooling` as sentence-transformers saves."""
    import json

    import torch
    import transformers

    vocabulary = tokenizers.Tokenizer.from_file(str(tokenizer(folder / "tokenizer.json"))).get_vocab_size()
    config = transformers.AutoConfig.for_model("bert", **BERT, vocab_size=vocabulary)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformers.AutoModel.from_config(config).save_pretrained(folder)
    if pooling:
        (folder / "1_Pooling").mkdir(exist_ok=True)
        said = {"pooling_mode_mean_tokens": pooling == "mean", "pooling_mode_cls_token": pooling == "first"}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(said), encoding="utf-8")
    return folder
