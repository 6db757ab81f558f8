"""Cross-validation of the strength against scikit-learn: the same grid, losses, choice and weights."""

import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.datasets import load_diabetes, load_wine
from sklearn.linear_model import ElasticNetCV, LassoCV, LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import scale

from fastreg.linear import StreamingClassifierCV, StreamingRegressorCV


def test_diabetes_as_lasso_cv_has_it():
    x, y = load_diabetes(return_X_y=True)
    model, other = StreamingRegressorCV().fit(x, y), LassoCV(alphas=30, cv=5, tol=1e-6, max_iter=100_000).fit(x, y)
    np.testing.assert_allclose(model.alphas_, other.alphas_, rtol=1e-9)
    np.testing.assert_allclose(2 * model.loss_path_, other.mse_path_, rtol=1e-4)
    assert model.alpha_ == pytest.approx(other.alpha_)
    np.testing.assert_allclose(model.coef_, other.coef_, atol=1e-3 * np.abs(other.coef_).max())


def test_several_shares_of_l1_as_elastic_net_cv_has_them():
    x, y = load_diabetes(return_X_y=True)
    x, ratios = scale(x), [0.1, 0.7, 1.0]
    model = StreamingRegressorCV(alphas=10, l1_ratio=ratios).fit(x, y)
    other = ElasticNetCV(alphas=10, l1_ratio=ratios, cv=5, tol=1e-6).fit(x, y)
    np.testing.assert_allclose(model.alphas_, other.alphas_, rtol=1e-9)
    np.testing.assert_allclose(2 * model.loss_path_, other.mse_path_, rtol=1e-4)
    assert (model.l1_ratio_, model.alpha_) == (other.l1_ratio_, pytest.approx(other.alpha_))
    assert model.mean_loss_path_.shape == model.standard_error_path_.shape == (3, 10)
    assert len(model.nonzero_path_) == len(model.path_["alpha"]) == 10


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of LogisticRegressionCV, for what it will return
def test_wine_as_logistic_regression_cv_has_it():
    x, y = load_wine(return_X_y=True)
    x, folds = scale(x), list(StratifiedKFold(3, shuffle=True, random_state=0).split(x, y))
    model = StreamingClassifierCV("multinomial", alphas=7, cv=folds).fit(x, y)

    def objective(w, b):
        margins = x @ w.T + b
        losses = logsumexp(margins, axis=1) - margins[np.arange(len(y)), y]
        return losses.mean() + model.alpha_ * np.abs(w).sum()

    options = {"solver": "saga", "max_iter": 20_000, "random_state": 0}
    if getattr(LogisticRegression(), "penalty", None) == "l2":  # scikit-learn before 1.8
        l1, l1_of_cv = {"penalty": "l1"}, {"penalty": "l1"}
    else:
        l1, l1_of_cv = {"l1_ratio": 1.0}, {"l1_ratios": (1.0,)}
    cs = 1 / (len(y) * model.alphas_[::-1])
    other = LogisticRegressionCV(Cs=cs, cv=folds, scoring="neg_log_loss", tol=1e-4, **l1_of_cv, **options).fit(x, y)
    other_alpha = 1 / (len(y) * np.ravel(other.C_)[0])
    steps = np.log(model.alpha_ / other_alpha) / np.log(model.alphas_[0] / model.alphas_[1])
    assert abs(steps) < 1.01  # its strengths in the folds are those for fewer samples
    at_ours = LogisticRegression(C=1 / (len(y) * model.alpha_), tol=1e-6, **l1, **options).fit(x, y)
    assert objective(model.coef_, model.intercept_) <= objective(at_ours.coef_, at_ours.intercept_)
    np.testing.assert_allclose(model.coef_, at_ours.coef_, atol=1e-3 * np.abs(at_ours.coef_).max())
