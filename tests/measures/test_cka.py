"""CKA: laws, naive float64 references, and every trap that a public tool has fallen into."""

import numpy as np
import pytest
import torch

from transferscope.measures.cka import GROUPS, FullCKA, MinibatchCKA
from transferscope.measures.mixing import unshuffled


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def related(n=64, seed=0, widths=(20, 35, 12)):
    """Layers that share a signal, so that CKA lies between 0 and 1."""
    signal = draw(n, 10, seed=seed)
    return [
        signal @ draw(10, w, seed=100 + i) + (1 + i) * draw(n, w, seed=seed + 7 * i + 1) for i, w in enumerate(widths)
    ]


def naive_kernel(x, kernel):
    x = x.double().flatten(1).numpy()
    if kernel == "linear":
        x = x - x.mean(0)  # HSIC does not see the shift; float64 does
        return x @ x.T
    squared = ((x[:, None] - x[None]) ** 2).sum(2)
    off = np.sort(squared[np.triu_indices(len(x), 1)])
    return np.exp(-squared / (2 * off[(len(off) - 1) // 2]))


def hsic1(k, l):  # noqa: E741
    """Nguyen et al. 2021, eq. 3, term by term."""
    n, one = len(k), np.ones(len(k))
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
    middle = (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2))
    return (np.trace(k @ l) + middle - 2 / (n - 2) * (one @ k @ l @ one)) / (n * (n - 3))


def naive_minibatch(batches, kernel="linear"):
    """Per-batch HSIC_1 weighted by n (n - 3), roots last."""
    size = len(batches[0])
    total = np.zeros((size, size))
    for layers in batches:
        n, grams = len(layers[0]), [naive_kernel(x, kernel) for x in layers]
        total += n * (n - 3) * np.array([[hsic1(a, b) for b in grams] for a in grams])
    return total / np.sqrt(np.outer(np.diag(total), np.diag(total)))


def naive_biased(layers, kernel="linear"):
    n = len(layers[0])
    h = np.eye(n) - 1 / n
    grams = [h @ naive_kernel(x, kernel) @ h for x in layers]
    total = np.array([[np.sum(a * b) for b in grams] for a in grams])
    return total / np.sqrt(np.outer(np.diag(total), np.diag(total)))


def stream(batches, kernel="linear"):
    cka = MinibatchCKA([f"layer{i}" for i in range(len(batches[0]))], kernel)
    for layers in batches:
        for i, x in enumerate(layers):
            cka.put(i, x)
        cka.step()
    return cka


def full(layers, kernel="linear", chunk=23):
    cka = FullCKA([f"layer{i}" for i in range(len(layers))], len(layers[0]), kernel)
    for i, x in enumerate(layers):
        cka.put(i, x.split(chunk))
    return cka.result()


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_streamed_equals_the_naive_sum_also_with_a_short_last_batch(kernel):
    batches = [related(32, s) for s in range(4)] + [related(5, 9)]
    found = stream(batches, kernel).result()
    np.testing.assert_allclose(found.matrix, naive_minibatch(batches, kernel), atol=1e-6)
    assert found.samples == 133 and found.batches == 5 and found.defined.all()


def test_a_short_last_batch_weighs_less_than_a_full_one():
    batches = [related(64, 0), related(4, 1)]
    equal = sum(
        np.array([[hsic1(naive_kernel(a, "linear"), naive_kernel(b, "linear")) for b in x] for a in x]) for x in batches
    )
    equal = equal / np.sqrt(np.outer(np.diag(equal), np.diag(equal)))
    found = stream(batches).result().matrix
    assert abs(found[0, 2] - naive_minibatch(batches)[0, 2]) < 1e-6 < abs(found[0, 2] - equal[0, 2]) / 10


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_full_batch_equals_the_naive_one_biased_and_debiased(kernel):
    layers = related(90)
    biased, debiased = full(layers, kernel)
    np.testing.assert_allclose(biased.matrix, naive_biased(layers, kernel), atol=1e-6)
    np.testing.assert_allclose(debiased.matrix, naive_minibatch([layers], kernel), atol=2e-6)
    np.testing.assert_allclose(debiased.matrix, stream([layers], kernel).result().matrix, atol=2e-6)


@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_a_few_dominant_directions_stay_within_1e_6_of_float64(shift):
    layers = [torch.relu(draw(256, 3) @ draw(3, width, seed=width)) for width in (64, 4096, 16384, 512)]
    layers = [x + shift * x.std() for x in layers]
    np.testing.assert_allclose(stream([layers]).result().matrix, naive_minibatch([layers]), atol=1e-6)
    biased, debiased = full(layers)
    np.testing.assert_allclose(biased.matrix, naive_biased(layers), atol=1e-6)
    np.testing.assert_allclose(debiased.matrix, naive_minibatch([layers]), atol=1e-6)


def test_wide_features_cross_block_borders():
    layers = [draw(70, 5000, seed=1), draw(70, 3, 40, 40, seed=2), draw(70, 2049, seed=3)]
    layers[2][:, :10] += layers[0][:, :10] * 50
    biased, debiased = full(layers)
    np.testing.assert_allclose(biased.matrix, naive_biased(layers), atol=1e-6)
    np.testing.assert_allclose(debiased.matrix, naive_minibatch([layers]), atol=1e-5)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_itself_is_one_and_rotation_scale_and_shift_change_nothing(kernel):
    x = related(60)[1]
    q = torch.linalg.qr(draw(35, 35, seed=5))[0]
    layers = [x, x @ q, 0.01 * x, x + draw(1, 35, seed=6), related(60)[0]]
    for found in (stream([layers], kernel).result(), *full(layers, kernel)):
        np.testing.assert_allclose(found.matrix[:4, :4], 1, atol=2e-5)
        np.testing.assert_allclose(found.matrix[4, :4], found.matrix[4, 0], atol=2e-5)
        assert found.matrix[4, 0] < 0.9


def test_independent_features_are_zero_unbiased_and_far_from_it_biased():
    batches = [[draw(64, 512, seed=s), draw(64, 512, seed=50 + s)] for s in range(30)]
    found = stream(batches).result()
    assert abs(found.matrix[0, 1]) < 4 * found.stderr[0, 1] < 0.05
    assert full(batches[0])[0].matrix[0, 1] > 0.8


def test_negative_estimates_are_kept():
    values = [stream([[draw(16, 4, seed=s), draw(16, 4, seed=90 + s)]]).result().matrix[0, 1] for s in range(40)]
    assert min(values) < 0 and abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(40)


@pytest.mark.parametrize("shift", [10.0, 1000.0])
def test_an_offset_of_many_standard_deviations(shift):
    layers = [x + shift * x.std() for x in related(128)]
    np.testing.assert_allclose(stream([layers]).result().matrix, naive_minibatch([layers]), atol=1e-6)
    np.testing.assert_allclose(full(layers)[0].matrix, naive_biased(layers), atol=1e-6)


@pytest.mark.parametrize("scale", [1e-6, 1e-4, 1e4, 1e6])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_the_scale_of_features_does_not_matter(scale, kernel):
    a, b, c = related(64)
    found = stream([[scale * a, b, c / scale]], kernel).result()
    np.testing.assert_allclose(found.matrix, naive_minibatch([[a, b, c]], kernel), atol=2e-6)
    np.testing.assert_allclose(full([scale * a, b, c], kernel)[0].matrix, naive_biased([a, b, c], kernel), atol=2e-6)


@pytest.mark.parametrize("value", [0.0, 3.3, -1e-5, 777.7])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_constant_features_are_undefined_and_named_and_spoil_no_mean(value, kernel):
    layers = [*related(48)[:2], torch.full((48, 300), value)]
    for found in (stream([layers], kernel).result(), *full(layers, kernel)):
        assert found.undefined == ("layer2",)
        assert np.isnan(found.matrix[2]).all() and np.isnan(found.matrix[:, 2]).all()
        assert found.mean() == pytest.approx(found.matrix[:2, :2].mean())


def test_a_layer_constant_in_one_batch_only_is_defined():
    second = related(32, 1)
    second[2] = torch.zeros_like(second[2])
    found = stream([related(32, 0), second]).result()
    assert found.undefined == () and np.isfinite(found.matrix).all()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_features_that_are_not_finite_are_named(bad):
    layers = related(32)
    layers[1][3, 4] = bad
    with pytest.raises(ValueError, match="layer1"):
        stream([layers])
    with pytest.raises(ValueError, match="layer1"):
        full(layers)


def test_batches_below_four_reused_and_unused_layers_are_refused():
    cka = MinibatchCKA(["a", "b"])
    with pytest.raises(ValueError, match="at least 4"):
        cka.put(0, draw(3, 5))
    cka.put(0, draw(8, 5))
    with pytest.raises(ValueError, match="'a' ran twice"):
        cka.put(0, draw(8, 5))
    with pytest.raises(ValueError, match="7 rows"):
        cka.put(1, draw(7, 5))
    with pytest.raises(ValueError, match="no features in this batch from: b"):
        cka.step()
    with pytest.raises(ValueError, match="at least 4"):
        FullCKA(["a"], 3)


def test_the_gram_is_taken_at_once_so_that_in_place_changes_afterwards_do_not_matter():
    a, b, _ = related(64)
    expected = naive_minibatch([[a, b]])
    cka = MinibatchCKA(["bn", "other"])
    cka.put(0, a)
    a.relu_()
    cka.put(1, b)
    cka.step()
    np.testing.assert_allclose(cka.result().matrix, expected, atol=1e-6)


def test_features_are_left_as_they_were_and_memory_format_does_not_matter():
    x, y = draw(16, 3, 8, 8, seed=1), draw(16, 40, seed=2)
    before = x.clone()
    plain = stream([[x, y]]).result().matrix
    assert torch.equal(x, before)
    np.testing.assert_allclose(stream([[x.to(memory_format=torch.channels_last), y]]).result().matrix, plain, atol=1e-6)


def test_half_precision_features_and_autocast_cost_no_accuracy_of_the_gram():
    layers = [x.bfloat16() for x in related(64)]
    expected = naive_minibatch([layers])
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", torch.bfloat16):
            found = stream([layers]).result().matrix
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_many_batches_stay_in_bounded_groups_of_like_size():
    whole = stream([related(8, s) for s in range(2 * GROUPS + 5)])
    assert len(whole._groups) == GROUPS
    assert {count for count, _ in whole._groups} == {2, 3}
    assert (whole.result().samples, whole.result().batches) == (8 * (2 * GROUPS + 5), 2 * GROUPS + 5)


def test_order_of_layers_and_of_batches_does_not_matter():
    batches = [related(16, s) for s in range(5)]
    found = stream(batches).result()
    turned = stream([x[::-1] for x in batches[::-1]]).result()
    np.testing.assert_allclose(turned.matrix[::-1, ::-1], found.matrix, atol=1e-7)
    np.testing.assert_allclose(turned.stderr[::-1, ::-1], found.stderr, atol=1e-6)


def test_the_standard_error_is_the_spread_over_repetitions():
    repeats = [stream([related(24, 1000 * r + 13 * s) for s in range(12)]).result() for r in range(60)]
    spread = np.std([r.matrix[0, 2] for r in repeats])
    assert np.mean([r.stderr[0, 2] for r in repeats]) == pytest.approx(spread, rel=0.35)
    assert np.isnan(stream([related(24)]).result().stderr).all()


def test_batch_size_changes_the_estimate_only_within_its_error():
    layers = related(512)
    results = [stream(list(zip(*(x.split(n) for x in layers), strict=True))).result() for n in (16, 64, 128)]
    for r in results[:2]:
        assert abs(r.matrix[0, 1] - results[2].matrix[0, 1]) < 4 * np.hypot(r.stderr, results[2].stderr)[0, 1] + 0.01


def test_batches_sorted_by_class_are_noticed_and_shuffled_ones_are_not():
    sizes = [32] * 8
    labels = np.repeat(np.arange(8), 32)
    assert "sorted" in unshuffled(labels, sizes)
    rng = np.random.default_rng(0)
    assert all(unshuffled(rng.permutation(labels), sizes) is None for _ in range(300))
    assert unshuffled(np.zeros(256), sizes) is None


def test_why_it_matters_sorted_batches_hide_what_layers_share():
    labels = torch.arange(8).repeat_interleave(32)
    means = 3 * draw(8, 10, seed=3)
    a = means[labels] + draw(256, 10, seed=4)
    b = means[labels] @ draw(10, 10, seed=6) + draw(256, 10, seed=5)
    order = torch.randperm(256, generator=torch.Generator().manual_seed(0))

    def value(rows):
        return stream(list(zip(a[rows].split(32), b[rows].split(32), strict=True))).result().matrix[0, 1]

    assert value(torch.arange(256)) < 0.15 < 0.5 < value(order)
