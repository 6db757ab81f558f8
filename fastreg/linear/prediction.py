"""Layer 5, what a classifier computes from its margins: labels and probabilities."""

import numpy as np
from scipy.special import expit, log_expit, log_softmax, logsumexp, softmax
from sklearn.utils.metaestimators import available_if

PROBABILITIES = ("log_loss", "multinomial", "modified_huber")  # losses that have them


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

        Examples
        --------
        >>> from fastreg.linear import StreamingClassifier
        >>> model = StreamingClassifier().fit([[-1.0], [1.0]], ["no", "yes"])
        >>> (model.decision_function([[-2.0], [0.5]]) > 0).tolist()
        [False, True]
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

        Examples
        --------
        >>> from fastreg.linear import StreamingClassifier
        >>> model = StreamingClassifier().fit([[-1.0], [1.0]], ["no", "yes"])
        >>> model.predict([[-2.0], [0.5]]).tolist()
        ['no', 'yes']
        """
        snapshot = self._snapshot()
        margins = snapshot._margins(X)
        codes = (margins > 0).astype(int) if margins.ndim == 1 else margins.argmax(axis=1)
        return snapshot.classes_[codes]

    def _has_proba(self):
        if self.loss not in PROBABILITIES:
            raise AttributeError(
                f"predict_proba: expected loss one of {', '.join(map(repr, PROBABILITIES))}, got {self.loss!r}"
            )
        return True

    @available_if(_has_proba)
    def predict_proba(self, X):
        """The probability of each class; with the losses "log_loss", "multinomial" and "modified_huber".

        For more than two classes, "multinomial" has the softmax of the margins. With the other losses, the
        probabilities of each class against the rest are divided by their sum: 1/(1 + exp(−margin)), and for
        "modified_huber" (1 + margin)/2, at least 0 and at most 1 (Zadrozny & Elkan 2002, as in scikit-learn).

        Parameters
        ----------
        X : array or sparse matrix, float32 or float64, (samples, features)

        Returns
        -------
        probabilities : ndarray, (samples, classes)

        Examples
        --------
        >>> from fastreg.linear import StreamingClassifier
        >>> model = StreamingClassifier(alpha=0.1).fit([[-1.0], [1.0]], ["no", "yes"])
        >>> model.predict_proba([[0.0], [1.0]]).round(2).tolist()
        [[0.5, 0.5], [0.16, 0.84]]
        """
        snapshot = self._snapshot()
        margins, loss = snapshot._margins(X), snapshot.loss
        if margins.ndim == 2 and loss == "multinomial":
            return softmax(margins, axis=1)
        p = np.clip((1 + margins) / 2, 0, 1) if loss == "modified_huber" else expit(margins)
        if margins.ndim == 1:
            return np.column_stack([1 - p if loss == "modified_huber" else expit(-margins), p])
        totals = p.sum(axis=1, keepdims=True)
        p = np.where(totals > 0, p / np.where(totals > 0, totals, 1), 1 / p.shape[1])
        if loss == "modified_huber":  # where several are 1, or all 0, the largest is still that of the label
            own = np.arange(len(p)), margins.argmax(axis=1)
            largest = p[own]
            p *= 1 - 4 * np.finfo(p.dtype).eps
            p[own] = largest
        return p

    @available_if(_has_proba)
    def predict_log_proba(self, X):
        """The logarithms of :meth:`predict_proba`, accurate where a probability is next to 0 or 1.

        Parameters
        ----------
        X : array or sparse matrix, float32 or float64, (samples, features)

        Returns
        -------
        logarithms : ndarray, (samples, classes)

        Examples
        --------
        >>> from fastreg.linear import StreamingClassifier
        >>> model = StreamingClassifier(alpha=0.1).fit([[-1.0], [1.0]], ["no", "yes"])
        >>> model.predict_log_proba([[0.0]]).round(2).tolist()
        [[-0.69, -0.69]]
        """
        snapshot = self._snapshot()
        if snapshot.loss == "modified_huber":  # a probability can be 0
            with np.errstate(divide="ignore"):
                return np.log(snapshot.predict_proba(X))
        margins = snapshot._margins(X)
        if margins.ndim == 1:
            return np.column_stack([log_expit(-margins), log_expit(margins)])
        if snapshot.loss == "multinomial":
            return log_softmax(margins, axis=1)
        logs = log_expit(margins)
        return logs - logsumexp(logs, axis=1, keepdims=True)
