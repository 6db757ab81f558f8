"""Torch tensors on the CPU are used in place. For every other tensor, the error names the remedy."""

import numpy as np
import pytest
from cases import ORDINARY, RULES, assert_same_bits, update, updated, values

import fastreg
from fastreg import reference

torch = pytest.importorskip("torch", reason="torch is not installed")

DTYPES = [np.float32, np.float64]
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)


def tensors(dtype, size=33):
    return [torch.from_numpy(a) for a in values(dtype, size)]


@dtypes
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_tensors_have_the_bits_of_the_reference(dtype, rule):
    w, g = tensors(dtype)
    expected = updated(reference, rule, w.numpy(), g.numpy(), ORDINARY)
    update(fastreg, rule, w, g, ORDINARY)
    assert_same_bits(w.numpy(), expected)


@dtypes
def test_tensors_mix_with_arrays(dtype):
    w, g = tensors(dtype)
    a, b = w.numpy().copy(), g.numpy().copy()
    fastreg.l1_update(w, b, 0.1, 0.2)
    fastreg.l1_update(a, g, 0.1, 0.2)
    assert_same_bits(w.numpy(), a)


def test_nothing_is_copied():
    w, g = torch.ones(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    address, view = w.data_ptr(), w.view(5, 1)
    fastreg.l1_update(w, g, 0.5, 0.0)
    assert w.data_ptr() == address
    assert w.tolist() == view.ravel().tolist() == [0.5] * 5
    assert g.tolist() == [1.0] * 5


def test_a_parameter_is_updated_through_detach():
    layer = torch.nn.Linear(3, 2)
    layer(torch.ones(1, 3)).sum().backward()
    p = layer.weight
    before = p.detach().clone()
    with pytest.raises(TypeError, match=r"^w: .*requires grad.*w\.detach\(\)"):
        fastreg.l2_update(p, p.grad, 0.1, 0.5)
    with torch.no_grad(), pytest.raises(TypeError, match=r"^w: .*w\.detach\(\)"):
        fastreg.l2_update(p, p.grad, 0.1, 0.5)
    assert torch.equal(p, before)
    fastreg.l2_update(p.detach(), p.grad, 0.1, 0.5)
    torch.testing.assert_close(p.detach(), before - 0.1 * (p.grad + 0.5 * before))
    with pytest.raises(TypeError, match=r"^grad: .*grad\.detach\(\)"):
        fastreg.l2_update(p.detach(), p, 0.1, 0.5)
    frozen = torch.nn.Parameter(torch.ones(3), requires_grad=False)
    fastreg.l2_update(frozen, torch.zeros(3), 0.5, 0.5)
    assert frozen.tolist() == [0.75] * 3


@dtypes
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 11), (1, 33, 1), (0, 4)])
def test_shapes(dtype, shape):
    size = int(np.prod(shape))
    w, g = (torch.from_numpy(a).reshape(shape) for a in values(dtype, size))
    expected = w.numpy().copy()
    reference.l1_update(expected, g.numpy(), 0.1, 0.2)
    fastreg.l1_update(w, g, 0.1, 0.2)
    assert_same_bits(w.numpy(), expected)


def test_transposed_tensors_are_fortran_order():
    w, g = torch.ones(3, 4).T, torch.ones(3, 4).T
    fastreg.l1_update(w, g, 0.5, 0.0)
    assert (w == 0.5).all()
    with pytest.raises(ValueError, match=r"^grad: .* order"):
        fastreg.l1_update(w, torch.ones(4, 3), 0.5, 0.0)


def test_bfloat16_is_used_in_place():
    w, g = (torch.from_numpy(a).bfloat16() for a in values(np.float32, 1100))
    expected = w.float().numpy()
    update(reference, RULES[-1], expected, g.float().numpy(), ORDINARY)
    address, bits = w.data_ptr(), g.view(torch.int16).clone()
    update(fastreg, RULES[-1], w, g, ORDINARY)
    assert torch.equal(w, torch.from_numpy(expected).bfloat16())
    assert w.data_ptr() == address
    assert torch.equal(g.view(torch.int16), bits)


def test_bfloat16_mixes_only_with_arrays_of_ml_dtypes():
    from ml_dtypes import bfloat16

    w, g = torch.ones(3, 4).bfloat16().T, torch.zeros(3, 4).bfloat16().T
    fastreg.l1_update(w, np.zeros((4, 3), bfloat16, order="F"), 0.5, 0.5)
    fastreg.l1_update(np.ones((4, 3), bfloat16, order="F"), g, 0.5, 0.5)
    assert (w == 0.75).all()
    with pytest.raises(TypeError, match=r"^grad: expected dtype bfloat16 like w, got float32"):
        fastreg.l1_update(w, g.float(), 0.5, 0.5)
    with pytest.raises(TypeError, match=r"^grad: expected dtype float32 like w, got bfloat16"):
        fastreg.l1_update(w.float(), g, 0.5, 0.5)
    with pytest.raises(TypeError, match=r"^w: .*detach"):
        fastreg.l1_update(torch.nn.Parameter(w), g, 0.5, 0.5)
    with pytest.raises(ValueError, match=r"^w: .*strides"):
        fastreg.l1_update(torch.ones(8).bfloat16()[::2], torch.ones(4).bfloat16(), 0.5, 0.5)


def test_a_module_in_bfloat16_is_trained():
    import pickle

    layer = torch.nn.Linear(30, 20).bfloat16()
    weights = [p.detach() for p in layer.parameters()]
    twins = [w.float().clone() for w in weights]
    optimizer, twin = (fastreg.Adam(ws, 0.01, l1=0.01, threads=2) for ws in (weights, twins))
    for i in range(3):
        layer.zero_grad()
        layer(torch.full((4, 30), 1.0 + i, dtype=torch.bfloat16)).square().sum().backward()
        grads = [p.grad for p in layer.parameters()]
        optimizer.step(grads)
        twin.step([g.float() for g in grads])
        for w, t in zip(weights, twins, strict=True):
            assert torch.equal(w, t.bfloat16())
            t.copy_(w)
    assert optimizer.zeros() == sum(int((w == 0).sum()) for w in weights)
    assert optimizer.penalty() == pytest.approx(0.01 * sum(float(w.float().abs().sum()) for w in weights), rel=1e-5)
    assert {a.dtype for state in optimizer.state.values() for a in state.values()} == {np.dtype(np.float32)}
    assert fastreg.clip_grad_norm(grads, 1.0) > 1
    resumed = pickle.loads(pickle.dumps(optimizer))
    optimizer.step(grads)
    resumed.step(grads)
    for a, b in zip(optimizer.params, resumed.params, strict=True):
        assert a.tobytes() == b.tobytes()


BAD = {  # name → a function from a good tensor of shape (4, 6) to a bad one, the error, and a word of its message
    "not contiguous": (lambda t: torch.ones(4, 12)[:, ::2], ValueError, "strides"),
    "narrowed": (lambda t: torch.ones(4, 12).narrow(1, 2, 6), ValueError, "strides"),
    "permuted": (lambda t: torch.ones(2, 4, 3).permute(1, 0, 2), ValueError, "strides"),
    "expanded": (lambda t: torch.ones(4, 1).expand(4, 6), ValueError, "strides"),
    "float16 view": (lambda t: t.bfloat16().view(torch.float16), TypeError, "float16"),
    "float16": (lambda t: t.half(), TypeError, "float16"),
    "int64": (lambda t: t.long(), TypeError, "int64"),
    "bool": (lambda t: t > 0, TypeError, "bool"),
    "complex64": (lambda t: t.to(torch.complex64), TypeError, "complex64"),
    "conjugate view": (lambda t: t.to(torch.complex64).conj(), TypeError, "complex64"),
    "float8": (lambda t: t.to(torch.float8_e4m3fn), TypeError, "float8"),
    "meta device": (lambda t: t.to("meta"), TypeError, "meta"),
    "sparse": (lambda t: t.to_sparse(), TypeError, "sparse"),
    "sparse rows": (lambda t: t.to_sparse_csr(), TypeError, "sparse"),
    "requires grad": (lambda t: t.clone().requires_grad_(), TypeError, "detach"),
    "result of autograd": (lambda t: t.clone().requires_grad_() * 2, TypeError, "detach"),
    "parameter": (torch.nn.Parameter, TypeError, "detach"),
    "negated view": (lambda t: torch._neg_view(t), TypeError, "negated"),
    "module": (lambda t: torch.nn.Linear(6, 4), TypeError, "Linear"),
    "storage": (lambda t: t.untyped_storage(), TypeError, "Storage"),
    "size": (lambda t: t.shape, TypeError, "Size"),
    "list of tensors": (lambda t: [t], TypeError, "list"),
}


@pytest.mark.parametrize("place", ["w", "grad"])
@pytest.mark.parametrize("case", BAD)
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled")
def test_tensors_that_cannot_be_used(place, case):
    make, error, text = BAD[case]
    arguments = {"w": torch.ones(4, 6), "grad": torch.ones(4, 6)}
    good = arguments["grad" if place == "w" else "w"]
    arguments[place] = bad = make(arguments[place])
    before = bad.detach().clone() if isinstance(bad, torch.Tensor) else None
    with pytest.raises(error, match=f"(?s)^{place}: .*{text}") as caught:
        fastreg.l1_update(**arguments, lr=0.1, l1=0.2)
    assert type(caught.value) is error
    assert (good == 1).all()
    if before is not None and before.device.type == "cpu" and before.layout == torch.strided:
        assert torch.equal(bad.detach(), before)


def test_overlap_and_dtypes_and_shapes_are_checked_as_for_arrays():
    base = torch.ones(10)
    for w, g, error, start in (
        (base, base, ValueError, "w and grad"),
        (base, base.numpy(), ValueError, "w and grad"),
        (base[:6], base[4:], ValueError, "w and grad"),
        (base, torch.ones(10, dtype=torch.float64), TypeError, "grad"),
        (base, torch.ones(9), ValueError, "grad"),
    ):
        with pytest.raises(error, match=f"^{start}: "):
            fastreg.l1_update(w, g, 0.1, 0.2)
    assert (base == 1).all()


def test_a_tensor_is_a_number_only_without_axes():
    w, g = np.ones(3), np.zeros(3)
    fastreg.l1_update(w, g, torch.tensor(0.5, dtype=torch.float64), torch.tensor(1))
    assert w.tolist() == [0.5] * 3
    for bad in (
        torch.tensor([0.5]),
        torch.tensor([[0.5]]),
        torch.tensor([0.5, 0.5]),
        torch.tensor(0.5 + 0j),
        torch.tensor(0.5j),
    ):
        with pytest.raises(TypeError, match=r"^lr: "):
            fastreg.l1_update(w, g, bad, 1.0)
    assert w.tolist() == [0.5] * 3


def test_penalties_of_tensors():
    w = torch.tensor([[3.0, -4.0]])
    assert fastreg.elastic_net_penalty(w, 1.0, 2.0) == 32.0
    with pytest.raises(TypeError, match=r"^w: .*detach"):
        fastreg.l1_penalty(w.requires_grad_(), 1.0)


def test_tensors_are_freed_after_the_call():
    import gc
    import weakref

    w, g = tensors(np.float32)
    fastreg.l1_update(w, g, 0.1, 0.2)
    with pytest.raises(ValueError, match=r"^lr: "):
        fastreg.l1_update(w, g, -0.1, 0.2)
    references = [weakref.ref(w), weakref.ref(g)]
    del w, g
    gc.collect()
    assert [r() for r in references] == [None, None]


def test_a_lasso_trained_with_torch():
    """Lasso with gradients of torch: the zeros and weights are the same as with gradients of NumPy."""
    torch.manual_seed(0)
    x, y = torch.randn(50, 20, dtype=torch.float64), torch.randn(50, dtype=torch.float64)
    w = torch.zeros(20, dtype=torch.float64, requires_grad=True)
    v = np.zeros(20)
    for _ in range(300):
        (g,) = torch.autograd.grad(0.5 * ((x @ w - y) ** 2).mean(), w)
        fastreg.l1_update(w.detach(), g, 0.1, 0.1, mode="proximal")
        fastreg.l1_update(v, x.numpy().T @ (x.numpy() @ v - y.numpy()) / 50, 0.1, 0.1, mode="proximal")
    np.testing.assert_allclose(w.detach().numpy(), v, atol=1e-12)
    assert 0 < np.count_nonzero(v) < 20
