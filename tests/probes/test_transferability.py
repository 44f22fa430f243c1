"""Penultimate features and the scores on them: the head's input, nothing left changed, gaps where they belong."""

import numpy as np
import pytest
import timm
import torch
from torch import nn

from transferscope.errors import UserError
from transferscope.measures.logme import logme
from transferscope.measures.scores import SCORES, leep, neighbour_accuracy, softmax
from transferscope.probes import result
from transferscope.probes.features.penultimate import penultimate
from transferscope.probes.features.transferability import transferability
from transferscope.probes.inputs.given import Batch


def small(classes: int = 5, *, conv_head: bool = False) -> nn.Module:
    body = [nn.Conv2d(3, 7, 3, stride=2), nn.BatchNorm2d(7), nn.ReLU()]
    head = [nn.Conv2d(7, classes, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(7, classes)]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(*body, *(head if conv_head else pooled))


def batches(classes: int = 3, each: int = 20, seed: int = 0, several: bool = False):
    draw = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(3):
        y = torch.randint(0, classes, (each,), generator=draw)
        x = torch.randn(each, 3, 8, 8, generator=draw) + y[:, None, None, None] / 2
        labels = torch.stack([(y == c).long() for c in range(classes)], 1) if several else y
        found.append(Batch(x, labels, multilabel=True) if several else (x, labels))
    return found


def test_features_are_what_goes_into_the_head() -> None:
    net = small().train()
    before = {name: t.clone() for name, t in net.state_dict().items()}
    found = penultimate(net, batches())
    assert net.training and all(torch.equal(t, before[name]) for name, t in net.state_dict().items())
    net.eval()
    with torch.no_grad():
        x = torch.cat([x for x, _ in batches()])
        np.testing.assert_allclose(found.features, net[:-1](x).numpy(), atol=1e-6)
        np.testing.assert_allclose(found.logits, net(x).numpy(), atol=1e-6)
    assert np.array_equal(found.labels, torch.cat([y for _, y in batches()]).numpy())
    assert not net[-1]._forward_pre_hooks


def test_a_convolution_as_head_and_named_heads() -> None:
    net = small(conv_head=True).eval()
    found = penultimate(net, [x for x, _ in batches()], head="3")
    with torch.no_grad():
        body = net[:3](torch.cat([x for x, _ in batches()])).mean((2, 3)).numpy()
    np.testing.assert_allclose(found.features, body, atol=1e-6)
    assert found.labels.shape == (0,)
    for head in ("9", ()):
        with pytest.raises(UserError, match="head"):
            penultimate(net, batches(), head=head)
    with pytest.raises(UserError, match="labels"):
        penultimate(net, [batches()[0], batches()[1][0]], head="3")


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit", "test_convnext", "test_byobnet"])
def test_timm_networks_give_what_timm_calls_pre_logits(name: str) -> None:
    if name not in timm.list_models():
        pytest.skip(f"this release of timm has no {name}")
    net = timm.create_model(name, num_classes=11).eval()
    side = net.pretrained_cfg["input_size"][-1]
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        theirs = net.forward_head(net.forward_features(x), pre_logits=True)
    np.testing.assert_allclose(penultimate(net, [x]).features, theirs.numpy(), atol=1e-5)


def test_scores_are_those_of_the_measures() -> None:
    net, train, held = small(), batches(), batches(seed=1)
    found = transferability(net, train, held, source_head=True)
    own = penultimate(net, train)
    assert found.logme == logme(own.features, own.labels)
    assert found.leep == leep(softmax(own.logits), own.labels) and found.source_classes == 5
    assert found.neighbours == neighbour_accuracy(own.features, own.labels)
    assert found.metric == "accuracy" and found.probe_metric is not None and found.probe_metric > 0.5
    assert (found.images, found.held_out, found.dimensions) == (60, 60, 7)
    assert found.table()["score"].to_list() == list(SCORES.values()) and found.chart().to_dict()


def test_without_a_source_head_and_with_several_labels_there_are_gaps() -> None:
    plain = transferability(small(), batches(), batches(seed=1))
    assert plain.leep is None and plain.nce is None and plain.source_classes is None
    several = transferability(small(), batches(several=True), batches(seed=1, several=True), source_head=True)
    assert several.metric == "auc" and several.probe_metric is not None and several.probe_metric > 0.6
    assert (several.neighbours, several.leep, several.nce) == (None, None, None)
    assert several.h_score <= 1 and several.logme < 0.5
    two = transferability(small(), batches(classes=2), batches(classes=2, seed=1))
    assert two.metric == "auc" and two.table()["value"].null_count() == 2


def test_the_clock_is_beside_the_result_and_the_result_can_be_saved(tmp_path) -> None:
    clock: dict[str, float] = {}
    found = transferability(small(), batches(), batches(seed=1), clock=clock)
    assert {"features", "decomposition", "linear probe", "LogME"} <= set(clock)
    found.save(tmp_path / "a.safetensors")
    assert result.load(tmp_path / "a.safetensors") == found


def test_what_cannot_be_scored_is_one_sentence() -> None:
    net = small()
    with torch.no_grad():
        net[0].weight.fill_(float("nan"))
    for broken, train in ((net, batches()), (small(), [x for x, _ in batches()])):
        with pytest.raises(UserError) as caught:
            transferability(broken, train, batches())
        assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
