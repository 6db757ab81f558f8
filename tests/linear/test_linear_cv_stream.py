"""The strength along a stream: single models at each strength, splits, the choice, files, and memory."""

import copy
import pickle

import numpy as np
import pytest
from linear_cases import LOSSES, OPTIMIZERS, data, is_classifier, make

from fastreg.linear import StreamingClassifier, StreamingClassifierCV, StreamingRegressorCV, progress, stream
from fastreg.linear.strengths import SharedStream, StrengthStream

ALPHAS = (0.3, 0.03, 0.003)


def first(loss, y):
    return {"classes": np.unique(y)} if is_classifier(loss) else {}


def choosing(loss, **options):
    kind = StreamingClassifierCV if is_classifier(loss) else StreamingRegressorCV
    return kind(loss, **{"alphas": ALPHAS} | options)


def trained(loss="log_loss", size=60, classes=2, **options):
    x, y = data(loss, 60, 8, classes=classes)
    model = choosing(loss, **options)
    for k in range(0, 60, size):
        model.partial_fit(x[k : k + size], y[k : k + size], **first(loss, y))
    return model, x, y


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", ["log_loss", "multinomial", "squared_error", "poisson"])
def test_each_strength_has_the_bits_of_a_single_model(loss, optimizer):
    model, x, y = trained(loss, optimizer=optimizer, classes=3, size=20)
    for alpha, coef, intercept in zip(ALPHAS, model.coef_path_, model.intercept_path_):
        single = make(loss, optimizer, alpha=alpha, l1_ratio=1.0)
        single._default_schedule = "invscaling"  # of "sgd"; that of the classifier depends on the strength
        single.partial_fit(x, y, **first(loss, y))
        assert single.coef_.tobytes() == coef.tobytes()
        assert single.intercept_.tobytes() == intercept.tobytes()
    assert (model.coef_ == model.coef_path_[ALPHAS.index(model.alpha_)]).all()


@pytest.mark.parametrize("size", [1, 7])
def test_the_choice_does_not_depend_on_how_the_stream_is_split(size):
    whole, own = trained()[0], trained(size=size)[0]
    for name in ("coef_path_", "intercept_path_", "progressive_loss_", "progressive_standard_error_", "coef_"):
        assert getattr(own, name).tobytes() == getattr(whole, name).tobytes()
    assert own.alpha_ == whole.alpha_


def test_the_progressive_loss_is_that_of_predictions_before_they_are_learnt():
    x, y = data("log_loss", 60, 8)
    weights = np.random.default_rng(0).integers(0, 4, 60).astype(float)
    model = StreamingClassifierCV(alphas=ALPHAS)
    model.partial_fit(x, y, classes=[0, 1], sample_weight=weights)
    for s, alpha in enumerate(ALPHAS):
        single, losses = StreamingClassifier(alpha=alpha, l1_ratio=1.0), np.full(60, np.log(2))
        for k in range(60):
            if k and weights[:k].any():
                losses[k] = np.logaddexp(0, -(2.0 * y[k] - 1) * single.decision_function(x[k : k + 1])[0])
            single.partial_fit(x[k : k + 1], y[k : k + 1], classes=[0, 1], sample_weight=weights[k : k + 1])
        mean = np.average(losses, weights=weights)
        assert model.progressive_loss_[s] == pytest.approx(mean)
        share = weights / weights.sum()
        error = np.sqrt((share**2 * (losses - mean) ** 2).sum() / (1 - (share**2).sum()))
        assert model.progressive_standard_error_[s] == pytest.approx(error, rel=0.05)


def test_rules_along_a_stream():
    least, strong = trained(rule="min", alphas=8)[0], trained(rule="1se", alphas=8)[0]
    loss, error = least.progressive_loss_, least.progressive_standard_error_
    assert least.alphas_[[0, -1]].tolist() == pytest.approx([0.1, 1e-6])
    assert least.alpha_ == least.alphas_[loss.argmin()]
    within = loss <= loss.min() + error[loss.argmin()]
    assert strong.alpha_ == strong.alphas_[within.argmax()] > least.alpha_
    assert strong.set_params(rule="min").alpha_ == least.alpha_
    assert not hasattr(least, "loss_path_")
    assert hasattr(least, "path_")


def test_several_shares_of_l1():
    model = trained(l1_ratio=[0.5, 1.0])[0]
    assert model.alphas_.shape == model.progressive_loss_.shape == (2, 3)
    ratio, s = np.unravel_index(model.progressive_loss_.argmin(), (2, 3))
    assert (model.l1_ratio_, model.alpha_) == ([0.5, 1.0][ratio], ALPHAS[s])
    assert model.coef_path_.shape == (3, 1, 8)


def test_copies_and_files_go_on_with_the_same_bits():
    model, x, y = trained()
    others = [pickle.loads(pickle.dumps(model)), copy.deepcopy(model)]
    model.partial_fit(x, y)
    for other in others:
        other.partial_fit(x, y)
        assert other.coef_path_.tobytes() == model.coef_path_.tobytes()
        assert other.progressive_loss_.tobytes() == model.progressive_loss_.tobytes()


def test_a_file_of_a_sparsified_model_has_the_chosen_strength_alone():
    model, x, y = trained()
    margins = model.decision_function(x)
    other = pickle.loads(pickle.dumps(model.sparsify()))
    assert (other.alpha_, other.decision_function(x).tolist()) == (model.alpha_, margins.tolist())
    assert other.progressive_loss_.tolist() == model.progressive_loss_.tolist()
    with pytest.raises(AttributeError, match="from a file of a sparsified stream has no coef_path_"):
        _ = other.coef_path_
    assert other.partial_fit(x, y).alpha_ == ALPHAS[model.alphas_.tolist().index(model.alpha_)]
    model.partial_fit(x, y)  # the model itself goes on with all
    assert model.coef_path_.shape == (3, 8)


def test_fit_after_a_stream_is_a_new_model_and_the_other_way_round():
    model, x, y = trained()
    again = model.fit(x, y)
    assert again.loss_path_.shape == (3, 5)
    assert not hasattr(again, "progressive_loss_")
    alpha = again.alpha_
    assert again.partial_fit(x, y).alpha_ == alpha


def test_the_model_of_the_moment_is_a_plain_one():
    model, x, _ = trained(rule="1se")
    assert model.predict_proba(x).shape == (60, 2)
    assert model.report()["coef_"].zeros == model.zeros()
    assert model.penalty() == pytest.approx(model.alpha_ * np.abs(model.coef_).sum())
    with pytest.raises(AttributeError, match="coef_: cannot be set while all strengths are trained"):
        model.coef_ = np.zeros((1, 8))
    assert len(model.path_["alpha"]) == 3


def test_memory_is_known_beforehand(monkeypatch):
    x, y = data("log_loss", 60, 8)
    small, large = (StreamingClassifierCV(alphas=n).required_memory(10**6) for n in (2, 40))
    assert 0 < 4 * small < large
    assert StreamingClassifierCV().required_memory(100, 5) > 3 * StreamingClassifierCV().required_memory(100, 2)
    assert StreamingRegressorCV().required_memory(10**6, np.float32) < StreamingRegressorCV().required_memory(10**6)
    model = StreamingClassifierCV(alphas=ALPHAS)
    monkeypatch.setattr(progress, "available_memory", lambda: 100.0)
    with pytest.raises(MemoryError, match=r"alphas: .* 1e-07 GB are left; 3 strengths of 8 features and 1 columns"):
        model.partial_fit(x, y, classes=[0, 1])
    assert not hasattr(model, "alpha_")
    monkeypatch.undo()
    assert 1e6 < progress.available_memory() < 1e15
    assert model.partial_fit(x, y, classes=[0, 1]).alpha_ in ALPHAS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alphas": [0.1]}, "alphas, l1_ratio: expected those of the first call"),
        ({"l1_ratio": 0.5}, "alphas, l1_ratio: expected those of the first call"),
        ({"optimizer": "sgd"}, "optimizer: expected 'ftrl', as in the first call, got 'sgd'"),
        ({"positive": True}, "positive: expected False, as in the first call"),
        ({"rule": "max"}, "rule: expected one of"),
    ],
)
def test_parameters_that_change_along_the_stream(options, message):
    model, x, y = trained()
    before = model.coef_path_.tobytes()
    with pytest.raises(ValueError, match=message):
        model.set_params(**options).partial_fit(x, y)
    model.set_params(alphas=ALPHAS, l1_ratio=1.0, optimizer="ftrl", positive=False, rule="min")
    assert model.coef_path_.tobytes() == before


def test_groups_of_several_classes_are_refused():
    x, y = data("multinomial", 60, 8, classes=3)
    with pytest.raises(ValueError, match="group: expected None with partial_fit at many strengths"):
        StreamingClassifierCV("multinomial", group="features").partial_fit(x, y, classes=np.unique(y))


def test_before_the_first_sample_that_counts_the_strongest_strength_is_chosen():
    x, y = data("log_loss", 60, 8)
    model = StreamingClassifierCV(alphas=ALPHAS).partial_fit(x, y, classes=[0, 1], sample_weight=0.0)
    assert model.alpha_ == ALPHAS[0]
    assert np.isnan(model.progressive_loss_).all()
    assert not model.coef_.any()


@pytest.mark.parametrize("loss", LOSSES)
def test_all_losses(loss):
    model, *_ = trained(loss)
    assert np.isfinite(model.progressive_loss_).all()
    assert model.alpha_ == ALPHAS[model.progressive_loss_.argmin()]


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0]])
def test_one_standard_error_is_the_minimum_until_there_is_an_error(weights):
    x, y = data("squared_error", len(weights), 8)
    model = choosing("squared_error", rule="1se").partial_fit(x, y, sample_weight=weights)
    assert np.isnan(model.progressive_standard_error_).all()
    assert model.alpha_ == max(ALPHAS), "equal losses: the strongest"
    assert (pickle.loads(pickle.dumps(model)).predict(x) == model.predict(x)).all()


def test_a_target_of_infinite_loss_is_refused_before_it_is_learnt():
    model, x, _ = trained("squared_error")
    before = model.progressive_loss_.tobytes(), model.coef_.tobytes()
    for outlier in (1e200, 1e80):
        with pytest.raises(ValueError, match=r"^y: expected targets with a mean loss"):
            model.partial_fit(x[:2], [1.0, outlier])
    assert (model.progressive_loss_.tobytes(), model.coef_.tobytes()) == before


def test_a_stream_without_finite_losses_has_no_choice(monkeypatch):
    model, *_ = trained("squared_error")
    kind = type(model._progress.stream)
    monkeypatch.setattr(kind, "mean_losses", property(lambda self: np.full(3, np.inf)))
    model._progress._choice = None
    with pytest.raises(ValueError, match="not finite"):
        _ = model.alpha_


def test_a_choice_between_the_steps_of_another_thread_belongs_to_one_count(monkeypatch):
    model, x, y = trained("squared_error")
    kind, original = type(model._progress.stream), type(model._progress.stream).standard_errors

    def learning(self):
        if len(seen) < 9:
            seen.append(self)
            model.partial_fit(x[:1], y[:1])
        return original(self)

    seen = []
    monkeypatch.setattr(kind, "standard_errors", learning)
    model._progress._choice = None
    (_, count), choice = model._progress._choice or (model._progress.choice("min"), model._progress._choice)[1]
    seen += [None] * 9
    twin, *_ = trained("squared_error")
    for _ in range(count - 60):
        twin.partial_fit(x[:1], y[:1])
    assert choice.means[0].tobytes() == twin.progressive_loss_.tobytes()
    assert choice.errors[0].tobytes() == twin.progressive_standard_error_.tobytes()


@pytest.mark.parametrize("steps", [1, 2, 9])
def test_the_chosen_model_is_that_of_one_count(monkeypatch, steps):
    model, x, y = trained("squared_error")
    original, calls = StrengthStream.single, []
    predictions = model.coef_path_ @ x[1] + model.intercept_path_[:, 0]
    y = 5000 * np.sign(predictions[:1] - predictions[-1:])  # the strongest strength predicts this best

    def learning(self, s):
        if len(calls) < steps:
            calls.append(s)
            model.partial_fit(x[1:2], y)
        return original(self, s)

    monkeypatch.setattr(StrengthStream, "single", learning)
    before, single = model.alpha_, model._stream
    assert len(calls) == min(steps, progress.TRIES + 1)
    twin, *_ = trained("squared_error")
    for _ in range(single.completed - 60):
        twin.partial_fit(x[1:2], y)
    assert single.coef().tobytes() == twin.coef_.tobytes()
    assert single.completed == twin._progress.stream.completed
    assert twin.alpha_ != before


def test_the_chosen_model_is_copied_only_when_it_has_changed(monkeypatch):
    model, x, y = trained("squared_error")
    original, copies = StrengthStream.single, []
    monkeypatch.setattr(StrengthStream, "single", lambda self, s: copies.append(s) or original(self, s))
    for _ in range(3):
        model.predict(x)
        _ = model.coef_, model.intercept_
    assert len(copies) == 1
    model.partial_fit(x[:1], y[:1]).predict(x)
    model.predict(x)
    assert len(copies) == 2
    before = model.alpha_
    assert model.set_params(rule="1se").alpha_ != before
    model.predict(x)
    model.predict(x)
    assert copies[2:] == [list(model.alphas_).index(model.alpha_)]


def test_required_memory_counts_different_strengths_and_the_copy_of_the_chosen_one():
    one, other, twice = (StreamingRegressorCV(alphas=a) for a in (30, np.int64(30), [0.2, 0.1, 0.1, 0.2]))
    assert one.required_memory(1000) == other.required_memory(1000)
    assert twice.required_memory(1000) == StreamingRegressorCV(alphas=[0.2, 0.1]).required_memory(1000)
    model, *_ = trained("squared_error")
    many, single = model._progress.stream._shared, model._stream
    records = 1000 // 8 * (many.learner.records.nbytes + single.learner.records.nbytes)
    assert records <= model.required_memory(1000) < records + 10_000


def test_the_page_cache_of_a_container_is_not_taken_memory(monkeypatch, tmp_path):
    for name, text in (("max", "9000"), ("current", "8000"), ("stat", "anon 1\ninactive_file 7000\n")):
        (tmp_path / f"memory.{name}").write_text(text, encoding="ascii")
    monkeypatch.setattr(progress, "GROUPS", ((tmp_path, *progress.GROUPS[0][1:]),))
    assert progress.available_memory() == 8000


def test_the_first_call_can_be_interrupted_and_leaves_no_stream(monkeypatch):
    x, y = data("squared_error", 60, 8)
    model, calls, original = choosing("squared_error"), [], SharedStream._prepare

    def prepare(self, *args):
        calls.append(self)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, *args)

    monkeypatch.setattr(stream, "CHUNK", 16)
    monkeypatch.setattr(SharedStream, "_prepare", prepare)
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(x, y)
    assert not hasattr(model, "coef_")
    model.partial_fit(x, y)
    assert model.coef_path_.tobytes() == trained("squared_error")[0].coef_path_.tobytes()


def test_samples_without_weight_change_nothing():
    model, x, y = trained("squared_error")
    before = model.coef_path_.tobytes()
    assert model.partial_fit(x, y, sample_weight=np.zeros(60)).coef_path_.tobytes() == before


@pytest.mark.parametrize("name", ["y", "x"])
def test_samples_that_are_left_out_are_not_judged(name):
    x, y = data("squared_error", 60, 8)
    wild = {"x": x.copy(), "y": y.copy()}
    wild[name][50] = 1e60
    model = choosing("squared_error").partial_fit(x[:40], y[:40])
    with pytest.warns(UserWarning, match="1 of 20 samples were left out"):
        model.partial_fit(wild["x"][40:], wild["y"][40:])
    kept = np.delete(np.arange(60), 50)
    other = choosing("squared_error").partial_fit(x[kept], y[kept])
    assert model._progress.stream.counts == other._progress.stream.counts == (59, 59.0)
    for attribute in ("progressive_loss_", "progressive_standard_error_", "alpha_"):
        assert np.array_equal(getattr(model, attribute), getattr(other, attribute))
