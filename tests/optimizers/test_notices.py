"""What optimizers tell their users once: no exact zeros, weights that the first step removed, keywords of others."""

import inspect
import pickle
import warnings

import numpy as np
import pytest

import fastreg
from fastreg._boundary import keywords

CLASSES = [fastreg.SGD, fastreg.Adagrad, fastreg.RMSprop, fastreg.Adam, fastreg.AdamW, fastreg.Lion, fastreg.FTRL]


def told(category, run):
    """The warnings of a category during a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    return [w for w in caught if w.category is category]


# -- Exact zeros ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (lambda w: fastreg.AdamW(w, l1=0.1), "Adam with mode='proximal'"),
        (lambda w: fastreg.Lion(w, l1=0.1), "Adam with mode='proximal'"),
        (lambda w: fastreg.SGD(w, l1=0.1, mode="subgradient"), "mode='proximal'"),
        (lambda w: fastreg.SGD(w, l1=lambda t: 0.1, mode="decoupled"), "mode='proximal'"),
        (lambda w: fastreg.Adam([{"params": [w]}, {"params": [w + 0], "l1": 1.0, "mode": "subgradient"}]), "proximal"),
    ],
)
def test_l1_in_a_mode_without_zeros_is_told_once_at_the_line_of_the_caller(make, remedy):
    (warning,) = told(fastreg.NoExactZerosWarning, lambda: make(np.ones(2)))
    assert "gives no exact zeros" in str(warning.message)
    assert remedy in str(warning.message)
    assert "fastreg.NoExactZerosWarning" in str(warning.message)
    assert warning.filename == __file__


@pytest.mark.parametrize(
    "make",
    [
        lambda w: fastreg.SGD(w, l1=0.1),
        lambda w: fastreg.SGD(w, l1=0.1, mode="truncated"),
        lambda w: fastreg.SGD(w, l2=0.1, mode="subgradient"),
        lambda w: fastreg.SGD(w, l1=0.1, mode="subgradient", bounds=(0.0, np.inf)),
        lambda w: fastreg.AdamW(w, l2=0.1),
        lambda w: fastreg.FTRL(w, l1=0.1),
    ],
)
def test_nothing_is_told_where_there_are_zeros_or_no_l1(make):
    assert told(fastreg.NoExactZerosWarning, lambda: make(np.ones(2))) == []


# -- Weights without a gradient in the first step ---------------------------------------------------------------------


def steps(optimizer, *grads):
    return told(fastreg.NoGradientWarning, lambda: [optimizer.step(np.asarray(g)) for g in grads])


@pytest.mark.parametrize("kind", [fastreg.Adam, fastreg.RMSprop, fastreg.Adagrad])
def test_the_first_step_tells_how_many_weights_it_removed_without_a_gradient(kind):
    w = np.array([1.0, 1.0, 0.0, 1e-5, 1.0])  # the last but one has a gradient, and goes for its size
    optimizer = kind(w, lr=1e-3, l1=0.1)
    (warning,) = steps(optimizer, [1.0, 0.0, 0.0, 1e-9, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0])
    assert w.tolist()[1:3] == [0.0, 0.0]
    assert w[4] == 0
    assert f"{kind.__name__}: 2 weights had no gradient in the first step" in str(warning.message)
    assert "penalty_factor=0" in str(warning.message)


@pytest.mark.parametrize(
    "make",
    [
        lambda w: fastreg.Adam(w, l1=lambda t: 0.0 if t < 1 else 0.1),
        lambda w: fastreg.Adam(w, l1=0.1, penalty_factor=np.array([1.0, 0.0])),
        lambda w: fastreg.Adagrad(w, l1=0.1, initial_accumulator_value=1.0),
        lambda w: fastreg.SGD(w, l1=100.0),
        lambda w: fastreg.AdamW(w),
        lambda w: fastreg.Adam(w),
    ],
)
def test_the_remedies_and_other_optimizers_tell_nothing(make):
    assert steps(make(np.array([1.0, 0.5])), [1.0, 0.0]) == []


def test_a_skipped_step_is_not_the_first_and_a_restored_optimizer_has_made_it():
    optimizer = fastreg.Adam(np.ones(2), l1=0.1, on_nonfinite="skip")
    assert steps(optimizer, [np.nan, 0.0]) == []
    assert len(steps(optimizer, [1.0, 0.0])) == 1
    other = fastreg.Adam(np.ones(2), l1=0.1)
    other.load_state_dict(optimizer.state_dict())
    assert steps(other, [1.0, 0.0]) == []
    assert steps(pickle.loads(pickle.dumps(optimizer)), [1.0, 0.0]) == []


def test_the_first_step_has_the_same_bits_with_and_without_the_count():
    g = np.array([1.0, 0.0, 2.0])
    counted, plain = (fastreg.Adam(np.ones(3), l1=0.1) for _ in range(2))
    plain._may_remove = False
    steps(counted, g)
    plain.step(g)
    assert counted.params.tobytes() == plain.params.tobytes()


# -- Keywords and help ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda w: fastreg.SGD(w, weight_decay=0.1), r"SGD\(\) .*'weight_decay'; weight_decay .* is l2 here$"),
        (lambda w: fastreg.SGD(w, alpha=0.1), "alpha of other libraries is l1 or l2 here"),
        (lambda w: fastreg.SGD(w, nesterov_momentum=0.9), "is momentum and nesterov here"),
        (lambda w: fastreg.Adam(w, learning_rate=0.9), r"Adam\(\) .* is lr here"),
        (lambda w: fastreg.LazySGD(w, reg_lambda=0.9), r"LazySGD\(\) .* is l2 here"),
        (lambda w: fastreg.l1_update(w, w + 0, 0.1, lambda_=0.1), r"^l1_update\(\) .*lambda_ .* is l1 here"),
        (lambda w: fastreg.l1_update(w, w + 0, 0.1, 0.1, weight_decay=1), "l2 here, which this call does not have"),
        (lambda w: fastreg.elastic_net_update(w, w + 0, 0.1, lambd=0.1), "lambd of other libraries is l1 or l2 here"),
        (lambda w: fastreg.SGD([{"params": w, "reg_lambda": 1}]), "^reg_lambda: .* is l2 here"),
    ],
)
def test_a_keyword_of_another_library_is_answered_with_ours(call, expected):
    w = np.ones(2)
    with pytest.raises(TypeError, match=expected):
        call(w)
    assert w.tolist() == [1, 1]


def test_a_subclass_may_take_such_a_keyword():
    class Own(fastreg.SGD):
        def __init__(self, params, **options):
            super().__init__(params, l2=options.pop("weight_decay", 0.0), **options)

    assert Own(np.zeros(3), lr=0.1, weight_decay=0.5).param_groups[0]["l2"] == 0.5
    with pytest.raises(TypeError, match="weight_decay of other libraries is l2 here"):
        fastreg.SGD(np.zeros(3), lr=0.1, weight_decay=0.5)


def test_a_keyword_of_no_library_has_the_usual_error():
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'nothing'$"):
        fastreg.SGD(np.ones(2), nothing=1)


def test_the_answers_name_parameters_that_exist():
    ours = set().union(*(inspect.signature(kind).parameters for kind in CLASSES))
    ours |= set(inspect.signature(fastreg.group_update).parameters)
    for name, parameters in keywords.OF_OTHERS.items():
        assert set(parameters) <= ours, name


@pytest.mark.parametrize("kind", CLASSES)
def test_help_shows_the_settings_of_this_optimizer_only(kind):
    own = inspect.signature(kind).parameters
    assert next(iter(own)) == "params"
    others = {"momentum", "betas", "eps", "amsgrad", "alpha", "beta", "initial_accumulator_value"} - own.keys()
    assert others
    assert not others & set(dir(kind))
    optimizer = kind(np.ones(2))
    for name in ("lr", *others):
        with pytest.raises(AttributeError, match=f"^{name}: a setting of the groups"):
            setattr(optimizer, name, 0.5)
