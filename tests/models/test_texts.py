"""Networks of texts: padding that changes no answer, pooling over real tokens, blocks by name, MiniLM's own weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from filling import load_into
from torch import Tensor, nn

pytest.importorskip("transformers")
reading = pytest.importorskip("reading")

from transferscope import models  # noqa: E402
from transferscope.errors import UserError  # noqa: E402
from transferscope.models.blocks import blocks  # noqa: E402
from transferscope.models.build import build_network, head_names  # noqa: E402
from transferscope.models.outputs import logits_of  # noqa: E402
from transferscope.models.pretrained import describe_weights, weights_state  # noqa: E402
from transferscope.models.tokenizers import own_tokenizer, tokenizer_file  # noqa: E402
from transferscope.registry import joined  # noqa: E402

TEXTS = ([2, 5, 6, 7, 3], [2, 9, 3], [2, 8, 8, 4, 10, 11, 5, 3])


def padded(texts: tuple[list[int], ...], width: int) -> Tensor:
    return torch.tensor([[*text, *[-1] * (width - len(text))] for text in texts])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("bert")
    return reading.network(made / "net").parent


def network(folder: Path, **options: object) -> str:
    return models.settled(joined("transformers:net", options), folder)


def answers(net: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return logits_of(net.eval()(x), len(x))


WAYS = {
    "mean": {"pooling": "mean"},
    "first": {"pooling": "first"},
    "own head": {"pooling": None},
    "roberta": {"kind": "roberta"},
    "distilbert": {"kind": "distilbert", "pooling": "mean"},
}
SMALL = {
    "roberta": {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 40,
        "vocab_size": 30,
    },
    "distilbert": {"dim": 16, "hidden_dim": 32, "n_layers": 2, "n_heads": 2, "vocab_size": 30},
}


@pytest.mark.parametrize("way", WAYS)
def test_padding_changes_no_answer(way: str, folder: Path) -> None:
    how = dict(WAYS[way])
    kind = str(how.pop("kind", ""))
    text = joined(f"transformers:{kind}", {**SMALL[kind], **how}) if kind else network(folder, **how)
    net = build_network(text, 3, seed=0)
    for tensor in net.parameters():  # fresh ones hardly look at a text
        if tensor.ndim > 1:
            tensor.data *= 10
    tight, wide = answers(net, padded(TEXTS, 8)), answers(net, padded(TEXTS, 24))
    alone = torch.cat([answers(net, torch.tensor([one])) for one in TEXTS])
    for other in (wide, alone):  # float32: sums in another order
        torch.testing.assert_close(tight, other, rtol=1e-4, atol=1e-5)
    seen = answers(net, padded(TEXTS, 8).clamp(min=0))
    assert not torch.allclose(seen, tight, atol=1e-3), "what is no padding is seen"


def test_attention_is_the_library_s_fused_one(folder: Path) -> None:
    net = build_network(network(folder), 3, seed=0)
    assert net.config._attn_implementation == "sdpa"


def test_a_folder_of_sentence_transformers_says_its_pooling(folder: Path, tmp_path: Path) -> None:
    text = network(folder)
    assert '"pooling":"mean"' in text and str(folder) not in text
    assert '"pooling":"first"' in models.settled(
        "transformers:net", reading.network(tmp_path / "net", pooling="first").parent
    )
    net = build_network(text, 3, seed=0)
    assert [block.name for block in blocks(net)] == [
        "bert.embeddings",
        "bert.encoder.layer.0",
        "bert.encoder.layer.1",
        "classifier",
    ]
    assert head_names(net, 3) == ("classifier",)
    found = weights_state("transformers:" + str(folder / "net"), text)
    loaded = load_into(net, found, head=("classifier",))
    assert loaded.share == 1 and not loaded.unfilled and not loaded.unexpected


def test_the_mean_is_over_real_tokens(folder: Path) -> None:
    net = build_network(network(folder), 3, seed=0).eval()
    with torch.no_grad():
        states = net.bert(input_ids=torch.tensor([TEXTS[1]])).last_hidden_state[0]
        torch.testing.assert_close(net.embedding(padded(TEXTS, 16))[1], states.mean(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('transformers:vit?{"pooling":"mean"}', "network.options.pooling: 'vit' reads images"),
        ('transformers:bert?{"pooling":"max"}', "network.options.pooling: 'max' is none of mean, first"),
        ("transformers:brt", "no classifier of images or texts 'brt'.*did you mean 'bert'"),
        ("package:minilm", "'package:minilm' is no network; did you mean 'minilm-l6'"),
    ],
)
def test_what_cannot_be_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        build_network(text, 2, seed=0)


def test_which_tokenizer_is_meant(folder: Path, tmp_path: Path) -> None:
    own = str(folder / "net" / "tokenizer.json")
    assert own_tokenizer("transformers:net", None, folder) == own
    assert own_tokenizer("my_lab.nets:build", f"transformers:{folder / 'net'}", folder) == own
    assert own_tokenizer("my_lab.nets:build", "file:x.safetensors", folder) is None
    for ref in ("net", own):
        assert str(tokenizer_file(ref, folder)) == own
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"input.text.tokenizer: 'empty' holds no tokenizer.json"):
        tokenizer_file("empty", tmp_path)
    with pytest.raises(UserError, match="did you mean 'minilm-l6'"):
        tokenizer_file("package:minilm-6")


PAIRS = (
    ("The cat sits on the mat.", "A cat is sitting on a rug."),
    ("Shares fell sharply after the profit warning.", "The company's stock dropped when it cut its forecast."),
)


def test_minilm_is_what_its_card_says() -> None:
    """Embeddings of the study's network have the cosines that transformers and the card's own recipe give."""
    try:
        models.check_weights_ref("package:minilm-l6", "package:minilm-l6")
    except UserError as error:
        pytest.skip(str(error))
    from tokenizers import Tokenizer
    from transformers import AutoModel

    from transferscope.models.encoders import ENCODERS

    read = Tokenizer.from_file(str(tokenizer_file("package:minilm-l6")))
    read.no_padding()
    ids = [read.encode(text).ids for pair in PAIRS for text in pair]
    net = build_network(models.settled("package:minilm-l6", Path()), 5, seed=0)
    loaded = load_into(net, weights_state("package:minilm-l6", "package:minilm-l6"), head=head_names(net, 5))
    assert loaded.share == 1 and not loaded.unfilled and not loaded.unexpected
    assert [block.name for block in blocks(net)] == [
        "bert.embeddings",
        *(f"bert.encoder.layer.{number}" for number in range(6)),
        "classifier",
    ]
    plain = AutoModel.from_pretrained(ENCODERS["minilm-l6"].home()).eval()
    with torch.no_grad():
        theirs = torch.stack([plain(input_ids=torch.tensor([one])).last_hidden_state[0].mean(0) for one in ids])
        ours = net.eval().embedding(padded(tuple(ids), 32))
    a, b = (nn.functional.normalize(x, dim=1) @ nn.functional.normalize(x, dim=1).T for x in (ours, theirs))
    torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
    similar, others = [float(a[0, 1]), float(a[2, 3])], a[:2, 2:].numpy()
    assert min(similar) > 0.5 > 0.3 > np.max(others), (similar, others)
    assert "all-MiniLM-L6-v2" in describe_weights("package:minilm-l6", "package:minilm-l6")["source"]
