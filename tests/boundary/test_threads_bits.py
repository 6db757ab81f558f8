"""Any number of threads gives the same bits: update functions, optimizers, clipping and penalties."""

import numpy as np
import pytest
from cases import RULES, STORED, Strengths, arithmetic, assert_same_bits, update, values
from optimizer_cases import COMBINATIONS, DIRECTIONS, make
from thread_cases import GRAIN, SLICE, large_arrays, threads_started

import fastreg

pytestmark = pytest.mark.usefixtures("seven_processors")


@pytest.mark.parametrize("dtype", STORED, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize(("name", "mode"), COMBINATIONS)
def test_every_direction_has_the_same_bits_with_any_number_of_threads(name, mode, dtype):
    state_bytes = np.dtype(arithmetic(dtype)).itemsize * len(DIRECTIONS[name].fields)
    bytes_per_weight = 3 * np.dtype(dtype).itemsize + 2 * state_bytes
    w, g = large_arrays(dtype, 3 * SLICE // bytes_per_weight + 4099)
    f = np.resize(np.array([0, 0.5, 2], arithmetic(dtype)), w.shape)
    results = []
    for threads in (1, 2, 3, 7):
        x = [w.copy(), w[:GRAIN].copy()]
        optimizer = make(name, x, mode=mode, l1=0.3, l2=0.2, penalty_factor=[f, None], threads=threads)
        for _ in range(2):
            optimizer.step([g, g[:GRAIN]])
        results.append([*x, *(a for state in optimizer.state.values() for a in state.values())])
    assert threads_started()
    for result in results[1:]:
        for a, b in zip(result, results[0], strict=True):
            assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("dtype", STORED, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("size", [2 * SLICE // 6 + d for d in (-1, 0, 1)] + [170 * GRAIN + d for d in (-1, 0, 1, 17)])
def test_sizes_around_the_limits_of_slices(dtype, size):
    w, g = large_arrays(dtype, size)
    results = []
    for threads in (1, 2, 3, 7):
        fastreg.set_num_threads(threads)
        x = w.copy()
        fastreg.elastic_net_update(x, g, 0.1, 0.3, 0.2, mode="proximal")
        norm = fastreg.clip_grad_norm([x, g[:9].copy()], 1.0)
        results.append((x.tobytes(), norm.hex(), fastreg.elastic_net_penalty(w, 0.1, 0.3).hex()))
    assert results == results[:1] * 4


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_functions_use_the_default_of_the_process(rule):
    w, g = large_arrays(np.float32)
    one, three = w.copy(), w.copy()
    update(fastreg, rule, one, g, Strengths(0.1, 0.3, 0.2))
    assert not threads_started()
    fastreg.set_num_threads(3)
    update(fastreg, rule, three, g, Strengths(0.1, 0.3, 0.2))
    assert threads_started() == 2
    assert_same_bits(three, one)


def test_many_tensors_of_all_sizes_and_dtypes():
    rng = np.random.default_rng(3)
    sizes = [0, 1, 9, *rng.integers(1, 30_000, 60).tolist(), 500_001, 0, 3 * GRAIN, 900_000, 5]
    shapes = [(n,) if i % 2 else (1, n) for i, n in enumerate(sizes)]
    params = [np.resize(values(STORED[i % 3], 1009)[0], shape) for i, shape in enumerate(shapes)]
    grads = [None if i % 7 == 3 else w[::-1].copy() if w.ndim == 1 else w * w for i, w in enumerate(params)]
    results = []
    for threads in (None, 2, 3, 7):
        own = [w.copy() for w in params]
        optimizer = fastreg.Adam(own, 0.1, l1=0.1, l2=0.2, threads=threads)
        optimizer.step(grads)
        optimizer.bind(grads)
        optimizer.step()
        results.append(([w.tobytes() for w in own], [s["exp_avg"].tobytes() for s in optimizer.state.values()]))
    assert all(result == results[0] for result in results)
    assert threads_started()


@pytest.mark.parametrize("dtype", STORED, ids=lambda dtype: dtype.__name__)
def test_groups_of_all_forms(dtype):
    """Rows, and columns of which threads share the lines, or where those are few, the columns."""
    rng = np.random.default_rng(0)
    shapes = [(700, 1100), (1100, 700), (3, 40, 5000), (1, 600_000), (600_000,), (90, 3, 2000), (460, 3, 700)]
    shapes += [(600, 2100), (200_000, 3)]
    given = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    axes = [0, 1, 1, 0, None, 2, 1, 1, 1]
    for name in ("Plain", "Adam", "FTRL"):
        results = []
        for threads in (1, 2, 3, 7):
            own = [w.copy() for w in given]
            optimizer = make(name, own, l1=0.1, l21=1.5, group_axis=axes, mode="proximal", threads=threads)
            for _ in range(2):
                optimizer.step(given)
            results.append([w.tobytes() for w in own])
        assert threads_started()
        assert all(result == results[0] for result in results)


def test_small_work_starts_no_thread():
    fastreg.set_num_threads(7)
    w, g = large_arrays(np.float32, SLICE // 12)
    fastreg.l1_update(w, g, 0.1, 0.2)
    fastreg.SGD([w, g.copy()], threads=7).step([g, w.copy()])
    fastreg.clip_grad_norm(w, 1.0)
    fastreg.l1_penalty(w, 1.0)
    assert not threads_started()


@pytest.mark.parametrize("policy", ["raise", "skip"])
@pytest.mark.parametrize("at", [(0, 0), (0, -1), (1, 500_000), (2, 0)])
def test_nonfinite_gradients_are_found_in_every_slice(policy, at):
    params = [large_arrays(np.float32, n)[0] for n in (600_000, 700_001, 3)]
    grads = [np.ones_like(w) for w in params]
    grads[at[0]][at[1]] = np.nan
    grads[2][2] = np.inf
    before = [w.tobytes() for w in params]
    optimizer = fastreg.SGD(params, on_nonfinite=policy, threads=3)
    if policy == "raise":
        with pytest.raises(FloatingPointError, match=rf"^grads\[{at[0]}\]"):
            optimizer.step(grads)
    else:
        optimizer.step(grads)
        assert optimizer.skipped == 1
    assert threads_started()
    assert [w.tobytes() for w in params] == before


def test_every_direction_is_tested():
    assert {name for name, _ in COMBINATIONS} == set(DIRECTIONS)
