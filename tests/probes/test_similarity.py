"""Similarity: against slow float64 references, its laws, and every trap a public tool has fallen into."""

import numpy as np
import pytest
import torch
from probing.nets import Habits, batched, images, made
from probing.reference import biased_cka, features, minibatch_cka
from torch import nn

import transferscope as ts
from transferscope.errors import UserError

LAYERS = ("conv1", "bn1", "relu#1", "conv2", "relu#2", "attention", "fc")
NAMES = ("conv1", "bn1", "relu", "conv2", "attention", "fc")


def test_minibatch_map_equals_the_published_formula_in_float64():
    a, b, x = made(seed=1), made(seed=2, width=10), batched(images(26), 8)  # the last batch is refused: 2 samples
    x = x[:3]
    found = ts.similarity(a, b, x, layers=NAMES)
    slow = minibatch_cka([features(a, one, LAYERS) for one in x], [features(b, one, LAYERS) for one in x])
    assert found.layers_a == LAYERS and found.samples == 24 and found.batches == 3
    np.testing.assert_allclose(found.matrix, slow, rtol=1e-5, atol=1e-6)
    assert found.estimator == "unbiased minibatch linear"


def test_full_batch_maps_equal_float64_and_come_together():
    a, b, x = made(seed=1), made(seed=2), images(26)
    biased = ts.similarity(a, b, batched(x, 8), layers=NAMES, estimator="biased")
    exact = ts.similarity(a, b, batched(x, 8), layers=NAMES, estimator="unbiased-full")
    sides = features(a, x, LAYERS), features(b, x, LAYERS)
    np.testing.assert_allclose(biased.matrix, biased_cka(*sides), rtol=1e-5)
    np.testing.assert_allclose(exact.matrix, minibatch_cka([sides[0]], [sides[1]]), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(biased.matrix, exact.other)
    np.testing.assert_array_equal(biased.other, exact.matrix)


def test_many_passes_in_little_memory_give_the_same_numbers():
    a, b, x = made(seed=1), made(seed=2), batched(images(26), 7)
    whole = ts.similarity(a, b, x, layers="leaves", estimator="biased")
    small = ts.similarity(a, b, x, layers="leaves", estimator="biased", memory=1)
    np.testing.assert_allclose(small.matrix, whole.matrix, rtol=1e-6)


def test_several_passes_need_batches_that_come_again_in_the_same_order():
    a, x = made(seed=1), images(24)
    with pytest.raises(UserError, match="more than one pass"):
        ts.similarity(a, made(seed=2), (one for one in batched(x)), estimator="biased", memory=1)

    class Shuffled:
        passes = 0

        def __iter__(self):
            Shuffled.passes += 1
            return iter(batched(x.roll(Shuffled.passes, 0)))

    with pytest.raises(UserError, match="differs from pass to pass"):
        ts.similarity(a, made(seed=2), Shuffled(), estimator="biased", memory=1)


def test_a_generator_is_enough_for_one_pass():
    a, b, x = made(seed=1), made(seed=2), batched(images(24))
    for estimator in ("unbiased", "biased"):
        whole = ts.similarity(a, b, x, estimator=estimator)
        np.testing.assert_array_equal(ts.similarity(a, b, iter(x), estimator=estimator).matrix, whole.matrix)


def test_a_network_is_like_itself_and_a_pair_is_the_transposed_other_way_round():
    a, b, x = made(seed=1), made(seed=2), batched(images(24))
    np.testing.assert_allclose(np.diag(ts.similarity(a, a, x).matrix), 1, atol=1e-6)
    there, back = ts.similarity(a, b, x).matrix, ts.similarity(b, a, x).matrix
    np.testing.assert_allclose(there, back.T, atol=1e-6)


def test_many_networks_at_once_are_every_pair_and_each_runs_once_a_batch():
    nets = {"one": made(seed=1), "two": made(seed=2), "three": made(seed=3, width=4)}
    x = batched(images(24))
    calls = dict.fromkeys(nets, 0)
    for name, net in nets.items():
        net.fc.register_forward_pre_hook(lambda *_, name=name: calls.__setitem__(name, calls[name] + 1))
    found = ts.similarity_matrix(nets, x)
    assert set(calls.values()) == {len(x) + 1}  # and the two samples that show which layers run
    for a in nets:
        for b in nets:
            alone = ts.similarity(nets[a], nets[b], x).matrix
            np.testing.assert_allclose(found.pair(a, b).matrix, alone, atol=2e-6)
    assert set(found.table()["a"].unique()) == {"one", "two", "three"}


def test_grams_kept_are_the_same_as_both_networks_at_once(tmp_path):
    nets, x = [made(seed=1), made(seed=2, width=4)], batched(images(26), 13)
    ts.grams(nets[0], x).save(tmp_path / "a.safetensors")
    a, b = ts.load(tmp_path / "a.safetensors"), ts.grams(nets[1], x)
    once = ts.similarity(*nets, x)
    found = a.similarity(b)
    np.testing.assert_array_equal(found.matrix, once.matrix)
    np.testing.assert_array_equal(found.stderr, once.stderr)
    assert (found.layers_b, found.samples, found.estimator) == (once.layers_b, once.samples, once.estimator)
    np.testing.assert_allclose(np.diag(a.similarity(a).matrix), 1, atol=1e-6)
    assert a.chart().to_dict() and a.table()["varies"].all()
    for other in (ts.grams(nets[1], batched(images(26, seed=9), 13)), ts.grams(nets[1], batched(images(26), 22))):
        with pytest.raises(UserError, match="on other samples"):
            a.similarity(other)
    with pytest.raises(UserError, match="different kernels"):
        a.similarity(ts.grams(nets[1], x, kernel="rbf"))
    nn.init.zeros_(nets[0].fc.weight)
    assert ts.grams(nets[0], x).similarity(b).undefined == ("fc",)


def test_independent_features_are_unbiased_at_zero_where_the_biased_estimate_is_not():
    class Noise(nn.Module):
        def __init__(self, seed):
            super().__init__()
            self.layer, self.draw = nn.Identity(), torch.Generator().manual_seed(seed)

        def forward(self, x):
            return self.layer(torch.randn(len(x), 200, generator=self.draw))

    x = batched(torch.zeros(1024, 3), 64)
    found = ts.similarity(Noise(1), Noise(2), x, layers=["layer"])
    assert abs(found.matrix[0, 0]) < 4 * found.stderr[0, 0] < 0.05
    assert ts.similarity(Noise(1), Noise(2), x[:4], layers=["layer"], estimator="biased").matrix[0, 0] > 0.4


def test_batch_size_moves_the_estimate_within_its_error():
    a, b, x = made(seed=1), made(seed=2), images(960)
    small, large = (ts.similarity(a, b, batched(x, size), layers=["conv2", "fc"]) for size in (16, 96))
    assert np.all(np.abs(small.matrix - large.matrix) < 4 * np.hypot(small.stderr, large.stderr))
    assert np.all(small.stderr > 0)


def test_short_last_batch_weighs_what_it_holds():
    a, b, x = made(seed=1), made(seed=2), images(36)
    found = ts.similarity(a, b, batched(x, 32), layers=["conv1", "fc"]).matrix
    both = [[features(net, one, ("conv1", "fc")) for one in batched(x, 32)] for net in (a, b)]
    np.testing.assert_allclose(found, minibatch_cka(*both), rtol=1e-5, atol=1e-6)


def test_in_place_activations_do_not_reach_back():
    found = ts.similarity(made(seed=1), made(seed=1), batched(images(24)), layers=["bn1", "relu"])
    assert found.layers_a == ("bn1", "relu#1", "relu#2")
    assert found.matrix[0, 1] < 0.97


@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_scale_and_offset_of_features_do_not_matter(scale, offset):
    class Moved(nn.Module):
        def __init__(self, scale, offset):
            super().__init__()
            self.net, self.end, self.scale, self.offset = made(seed=1), nn.Identity(), scale, offset

        def forward(self, x):
            out = self.net(x)
            return self.end((out - out.mean(0)) / out.std() * self.scale + self.offset * self.scale)

    b, x = made(seed=2), batched(images(64), 16)
    plain = ts.similarity(Moved(1, 0), b, x, layers=["end"], layers_b=["fc"]).matrix
    moved = ts.similarity(Moved(scale, offset), b, x, layers=["end"], layers_b=["fc"]).matrix
    np.testing.assert_allclose(moved, plain, atol=2e-4 if offset else 1e-6)


def test_constant_features_are_named_and_left_out_of_means():
    a = made(seed=1)
    nn.init.zeros_(a.fc.weight)
    found = ts.similarity(a, made(seed=2), batched(images(24)), layers=["conv1", "fc"])
    assert found.undefined == found.undefined_a == ("fc",)
    assert np.isnan(found.matrix[1]).all() and np.isfinite(found.matrix[0]).all()
    assert found.mean() == pytest.approx(found.matrix[0].mean())
    assert found.table()["cka"].null_count() == 2 and "fc" not in found.same()


def test_batches_sorted_by_class_are_refused_and_the_full_batch_does_not_mind():
    y = torch.arange(4).repeat_interleave(16)
    x = images(64) + 3 * y[:, None, None, None]
    a, b = made(seed=1), made(seed=2)
    sorted_batches = list(zip(x.split(16), y.split(16), strict=True))
    with pytest.raises(UserError, match="sorted by class"):
        ts.similarity(a, b, sorted_batches)
    assert ts.similarity(a, b, sorted_batches, estimator="unbiased-full").samples == 64
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    ts.similarity(a, b, list(zip(x[order].split(16), y[order].split(16), strict=True)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"batches": [*batched(images(10), 8), images(8)]},
            "batch 2: unbiased CKA needs batches of at least 4 samples, this one has 2",
        ),
        ({"batches": []}, "there were none"),
        ({"batches": [(images(8), torch.arange(5))]}, "8 samples but 5 labels"),
        ({"batches": ["x"]}, "must be a tensor"),
        ({"layers": ["unused"]}, "'unused' never runs"),
        ({"layers": ["conv"]}, "no module fits 'conv'; did you mean 'conv"),
        ({"layers": []}, "no layer was named"),
        ({"estimator": "minibatch"}, "'minibatch' is none of"),
        ({"kernel": "cosine"}, "kernel must be"),
        ({"pool": "max"}, "'max' is none of"),
        ({"pool": "token", "layers": ["conv1"]}, "needs features \\(samples, tokens, channels\\)"),
        ({"mode": "train"}, "neither 'eval' nor"),
        ({"precision": "fp16"}, "'fp16' is neither 'float32' nor"),
        ({"batches": [torch.full((8, 3, 8, 8), float("nan"))]}, "NaN or infinite"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(change, message):
    given = {"batches": batched(images(24))} | change
    with pytest.raises(UserError, match=message):
        ts.similarity(made(seed=1), made(seed=2), **given)


def test_rbf_kernel_and_merged_layers_by_pattern():
    a, x = made(seed=1), batched(images(24))
    found = ts.similarity(a, made(seed=2), x, layers=["conv*", "fc"], kernel="rbf", bandwidth=0.5)
    assert found.layers_a == ("conv1", "conv2", "fc") and found.estimator.endswith("rbf")
    assert np.isfinite(found.matrix).all()


def test_order_of_layers_threads_and_repetition_do_not_matter():
    a, b, x = made(seed=1), made(seed=2), batched(images(24))
    found = ts.similarity(a, b, x, layers=["fc", "conv1"])
    assert found.layers_a == ("conv1", "fc")
    np.testing.assert_array_equal(ts.similarity(a, b, x, layers=["conv1", "fc"]).matrix, found.matrix)
    torch.set_num_threads(2)
    try:
        np.testing.assert_allclose(ts.similarity(a, b, x, layers=["conv1", "fc"]).matrix, found.matrix, atol=1e-6)
    finally:
        torch.set_num_threads(1)


def test_result_has_a_table_a_chart_and_survives_a_file(tmp_path):
    found = ts.similarity_matrix([made(seed=1), made(Habits, seed=2)], batched(images(24)), pool="mean")
    pair = found.pair(0, 1)
    assert pair.table().columns == ["layer_a", "layer_b", "cka", "stderr"] and pair.pool == "mean"
    assert pair.chart().to_dict() and found.chart().to_dict()
    for result in (found, pair):
        result.save(tmp_path / "x.safetensors")
        again = ts.load(tmp_path / "x.safetensors")
        assert type(again) is type(result) and again.layers if result is found else again.layers_a == pair.layers_a
        np.testing.assert_array_equal(again.matrix, result.matrix)
        first = (tmp_path / "x.safetensors").read_bytes()
        again.save(tmp_path / "x.safetensors")
        assert (tmp_path / "x.safetensors").read_bytes() == first
    with pytest.raises(UserError, match="no network 'x'"):
        found.pair("x", 0)


def test_autocast_around_a_probe_does_not_reach_it():
    a, b, x = made(seed=1), made(seed=2), batched(images(24))
    found, answers = ts.similarity(a, b, x).matrix, ts.predictions(a, x).logits
    with torch.autocast("cpu", dtype=torch.bfloat16):
        np.testing.assert_array_equal(ts.similarity(a, b, x).matrix, found)
        np.testing.assert_array_equal(ts.predictions(a, x).logits, answers)
