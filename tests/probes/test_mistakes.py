"""Predictions and mistakes: counts against a plain loop, and that both networks saw the same samples is checked."""

import numpy as np
import pytest
import torch
from probing.nets import batched, images, made

import transferscope as ts
from transferscope.errors import UserError


def labelled(count=24, size=8, seed=0, classes=4):
    y = torch.randint(classes, (count,), generator=torch.Generator().manual_seed(seed))
    return list(zip(images(count, seed=seed).split(size), y.split(size), torch.arange(count).split(size), strict=True))


def test_predictions_are_the_network_outputs_in_order():
    net, data = made(seed=1), labelled(20)
    found = ts.predictions(net, data)
    with torch.no_grad():
        whole = net.eval()(torch.cat([x for x, _, _ in data])).numpy()
    np.testing.assert_allclose(found.logits, whole, atol=1e-6)
    np.testing.assert_array_equal(found.predicted, whole.argmax(1))
    np.testing.assert_array_equal(found.labels, torch.cat([y for _, y, _ in data]).numpy())
    np.testing.assert_array_equal(found.ids, np.arange(20))
    np.testing.assert_array_equal(found.wrong, found.predicted != found.labels)
    assert found.table().columns == ["sample", "label", "wrong", "predicted", "logit"] and found.chart().to_dict()


def test_mistakes_are_those_of_a_plain_loop():
    data = labelled(40)
    a, b = (ts.predictions(made(seed=s), data) for s in (1, 2))
    found = ts.mistakes(a, b, names=["w", "x", "y", "z"])
    common = [i for i in range(40) if a.predicted[i] != a.labels[i] and b.predicted[i] != b.labels[i]]
    only_a = [i for i in range(40) if a.predicted[i] != a.labels[i] and b.predicted[i] == b.labels[i]]
    only_b = [i for i in range(40) if a.predicted[i] == a.labels[i] and b.predicted[i] != b.labels[i]]
    assert found.both_wrong.tolist() == common and found.overall.common == len(common)
    assert found.only_a_wrong.tolist() == only_a and found.only_b_wrong.tolist() == only_b
    assert found.groups == ("all", "w", "x", "y", "z")
    by_class = found.table().filter(found.table()["group"] != "all")
    assert by_class["common"].sum() == len(common) and by_class["n"].sum() == 40
    x = sum(1 for i in common if a.labels[i] == 1)
    assert by_class.row(1, named=True)["common"] == x
    assert found.chart().to_dict()


def test_a_network_makes_its_own_mistakes():
    a = ts.predictions(made(seed=1), labelled(40))
    found = ts.mistakes(a, a).overall
    assert found.jaccard == 1 and found.kappa == 1 and found.only_a == found.only_b == 0 and found.mcnemar == 1


def test_multi_label_counts_by_label():
    y = (torch.rand(24, 4, generator=torch.Generator().manual_seed(5)) < 0.4).long()
    data = list(zip(images(24).split(8), y.split(8), strict=True))
    a, b = (ts.predictions(made(seed=s), data) for s in (1, 2))
    assert a.multilabel and a.predicted.shape == (24, 4)
    found = ts.mistakes(a, b)
    wrong_a, wrong_b = (a.logits > 0) != y.numpy(), (b.logits > 0) != y.numpy()
    assert found.common.tolist() == [(wrong_a & wrong_b).sum(), *(wrong_a & wrong_b).sum(0)]
    assert found.groups == ("all", "0", "1", "2", "3") and found.multilabel
    assert found.both_wrong.tolist() == np.flatnonzero(wrong_a.any(1) & wrong_b.any(1)).tolist()
    assert a.table().height == 96 and a.chart().to_dict()


def test_logits_as_arrays():
    data = labelled(24)
    a, b = (ts.predictions(made(seed=s), data) for s in (1, 2))
    found = ts.mistakes(a.logits, b.logits, labels=a.labels)
    np.testing.assert_array_equal(found.common, ts.mistakes(a, b).common)


def test_other_order_other_samples_and_other_labels_are_refused():
    net, x, y = made(seed=1), images(24), torch.zeros(24, dtype=torch.long)
    plain = ts.predictions(net, list(zip(x.split(8), y.split(8), strict=True)))
    turned = ts.predictions(net, list(zip(x.flip(0).split(8), y.split(8), strict=True)))
    with pytest.raises(UserError, match="in different orders"):
        ts.mistakes(plain, turned)
    others = ts.predictions(net, list(zip(images(24, seed=9).split(8), y.split(8), strict=True)))
    with pytest.raises(UserError, match=r"saw different samples \(if the inputs differ on purpose"):
        ts.mistakes(plain, others)
    with pytest.raises(UserError, match="the labels of the two differ"):
        ts.mistakes(plain, ts.predictions(net, labelled(24)))
    names = [[f"{i}.png" for i in range(s, s + 8)] for s in (0, 8, 16)]
    one = ts.predictions(net, list(zip(x.split(8), y.split(8), names, strict=True)))
    two = ts.predictions(net, list(zip((x * 2).split(8), y.split(8), names, strict=True)))
    assert ts.mistakes(one, two).overall.n == 24  # its own preprocessing for each network, the same ids


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "there were none"),
        ([(images(8), torch.zeros(8)), images(8)], "1 of 2 batches have no labels"),
        ([(images(8), torch.zeros(7))], "8 samples but 7 labels"),
    ],
)
def test_bad_batches(batches, message):
    with pytest.raises(UserError, match=message):
        ts.predictions(made(), batches)


def test_without_labels_there_is_no_right_or_wrong():
    found = ts.predictions(made(), batched(images(24)))
    assert found.table().columns == ["sample", "predicted", "logit"]
    for ask in (lambda: found.wrong, found.chart, lambda: ts.mistakes(found.logits, found.logits)):
        with pytest.raises(UserError, match="labels"):
            ask()
    with pytest.raises(UserError, match="had no labels"):
        ts.mistakes(found, found)
    with pytest.raises(UserError, match="not of the same samples"):
        ts.mistakes(found, found, [0, 1])


def test_results_survive_a_file(tmp_path):
    a = ts.predictions(made(seed=1), labelled(24))
    found = ts.mistakes(a, ts.predictions(made(seed=2), labelled(24)))
    a.save(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(ts.load(tmp_path / "a.safetensors").samples, a.samples)
    found.save(tmp_path / "m.safetensors")
    assert ts.load(tmp_path / "m.safetensors").table().equals(found.table())
    (tmp_path / "x.safetensors").write_bytes(b"no")
    with pytest.raises(UserError, match="not a result saved by a probe"):
        ts.load(tmp_path / "x.safetensors")
    with pytest.raises(UserError, match="cannot be written"):
        found.save(tmp_path / "absent" / "x.safetensors")


def test_answers_that_are_no_numbers_are_refused_not_taken_for_the_first_class():
    logits, y = np.eye(4, dtype=np.float32)[[0, 1, 2, 3] * 3], np.array([0, 1, 2, 3] * 3)
    assert ts.mistakes(logits, torch.from_numpy(logits).requires_grad_(), y).overall.common == 0
    lost = logits.copy()
    lost[5, 3] = np.nan
    with pytest.raises(UserError, match="outputs of 1 of 12 samples are NaN"):
        ts.mistakes(logits, lost, y)


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        (np.arange(12) % 4 - 1, None, "class indices start at 0, but 3 of 12 labels are below it"),
        (np.arange(12) % 4, ["x", "y", "z"], "3 names, but a label is 3"),
        (np.ones((12, 4), dtype=int), ["x", "y", "z"], "3 names for 4 labels"),
        (np.ones((12, 4), dtype=int), ["v", "w", "x", "y", "z"], "5 names for 4 labels"),
        (np.ones((12, 3), dtype=int), None, "3 labels a sample, but the network has 4 outputs"),
    ],
)
def test_labels_and_names_must_be_those_of_the_outputs(labels, names, message):
    logits = np.random.default_rng(0).standard_normal((12, 4))
    with pytest.raises(UserError, match=message):
        ts.mistakes(logits, logits, labels, names)


def test_predictions_with_dropout_draw_from_the_seed_alone():
    net, x = made(seed=1).train(), batched(images(24))
    found = [ts.predictions(net, x, mode="as found", seed=seed).logits for seed in (0, 0, 1) if torch.rand(1) >= 0]
    assert np.array_equal(found[0], found[1]) and not np.array_equal(found[0], found[2])
    for wrong in ({"mode": "train"}, {"precision": "fp16"}):
        with pytest.raises(UserError, match="is neither"):
            ts.predictions(net, x, **wrong)
