"""Layer 5, linear models with sparse weights for streams: scikit-learn estimators that use the lazy updates.

scikit-learn's SGDClassifier drops pending penalties at every call of partial_fit, so that its weights are not sparse on
mini-batches. Here the weights do not depend on how a stream is split into batches. It needs the extra `sklearn`.
"""

try:
    from sklearn.utils.validation import validate_data  # noqa: F401  from version 1.6 on
except ImportError as error:
    raise ImportError(
        f'fastreg.linear: expected scikit-learn 1.6 or later, pip install "scikit-learn>=1.6"; {error}'
    ) from error

from fastreg.linear.classifier import StreamingClassifier
from fastreg.linear.classifier_cv import StreamingClassifierCV
from fastreg.linear.regressor import StreamingRegressor
from fastreg.linear.regressor_cv import StreamingRegressorCV

__all__ = ["StreamingClassifier", "StreamingClassifierCV", "StreamingRegressor", "StreamingRegressorCV"]
