"""Layer 5, what a classifier computes from its margins: labels and probabilities."""

import numpy as np
from scipy.special import expit
from sklearn.utils.metaestimators import available_if


class Prediction:
    """Predictions of :class:`fastreg.linear.StreamingClassifier`."""

    def decision_function(self, X):
        """The margins x·w + intercept.

        Parameters
        ----------
        X : array or sparse matrix, float32 or float64, (samples, features)

        Returns
        -------
        margins : ndarray, (samples,) for two classes, otherwise (samples, classes)
        """
        return self._margins(X)

    def predict(self, X):
        """The class with the largest margin.

        Parameters
        ----------
        X : array or sparse matrix, float32 or float64, (samples, features)

        Returns
        -------
        labels : ndarray, (samples,)
            With the dtype of `classes_`.
        """
        snapshot = self._snapshot()
        margins = snapshot._margins(X)
        codes = (margins > 0).astype(int) if margins.ndim == 1 else margins.argmax(axis=1)
        return snapshot.classes_[codes]

    def _has_proba(self):
        if self.loss != "log_loss":
            raise AttributeError(f"predict_proba: expected loss='log_loss', got {self.loss!r}")
        return True

    @available_if(_has_proba)
    def predict_proba(self, X):
        """The probability of each class; only with ``loss="log_loss"``.

        For more than two classes, the probabilities of each class against the rest are divided by their sum.

        Parameters
        ----------
        X : array or sparse matrix, float32 or float64, (samples, features)

        Returns
        -------
        probabilities : ndarray, (samples, classes)
        """
        margins = self._margins(X)
        if margins.ndim == 1:
            return np.column_stack([expit(-margins), expit(margins)])
        p = expit(margins)
        totals = p.sum(axis=1, keepdims=True)
        return np.where(totals > 0, p / np.where(totals > 0, totals, 1), 1 / p.shape[1])
