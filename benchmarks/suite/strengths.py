"""Many strengths in one pass over the data, compared with a pass for each of them."""

import warnings

import numpy as np

from .linear import counts
from .workload import ratio, statement

ALPHAS = np.geomspace(0.1, 1e-4, 32)
SHAPES = {"2000 x 200": (2_000, 200), "50000 x 20": (50_000, 20)}


def data(rows):
    """Samples and classes: dense ones of a shape, or sparse ones like text."""
    if rows == "sparse":
        return counts()
    rng = np.random.default_rng(0)
    x = rng.standard_normal(SHAPES[rows])
    return x, (x[:, :10].sum(axis=1) + rng.standard_normal(len(x)) > 0).astype(int)


class Choice:
    """A stream at 32 strengths, which judges each of them as well: its time over that of 32 models of its own, in
    interleaved rounds. Without units of features: the data need none.
    """

    params = [["sgd", "adagrad", "ftrl"], ["float32", "float64"], [*SHAPES, "sparse"]]
    param_names = ["optimizer", "dtype", "rows"]
    timeout = 600

    def setup(self, optimizer, dtype, rows):
        try:
            from fastreg.linear import StreamingClassifier, StreamingClassifierCV
        except ImportError as error:
            raise NotImplementedError(str(error)) from error
        warnings.simplefilter("ignore")
        x, y = data(rows)
        batch, classes = (x.astype(dtype), y), np.unique(y)
        many = StreamingClassifierCV(alphas=ALPHAS, l1_ratio=0.5, optimizer=optimizer)
        models = [StreamingClassifier(alpha=alpha, l1_ratio=0.5, optimizer=optimizer) for alpha in ALPHAS]

        def each():
            for model in models:
                model.partial_fit(*batch, classes=classes)

        self.many, self.each = lambda: many.partial_fit(*batch, classes=classes), each
        self.many()  # while features are measured
        self.each()

    def time_epoch(self, optimizer, dtype, rows):
        self.many()

    def track_share(self, optimizer, dtype, rows):
        return ratio(statement("many()", many=self.many), statement("each()", each=self.each), budget=10)


Choice.track_share.unit = "of the time of 32 models"


class Strengths:
    """One epoch of 32 strengths: its time, and its time divided by that of 32 epochs, in interleaved rounds.

    Of the compiled loops alone. Where a sample has many dense features, both make the same steps of all weights: the
    share is then that of the arithmetic.
    """

    params = [["sgd", "adagrad", "ftrl"], ["float32", "float64"], ["2000 x 200", "sparse"]]
    param_names = Choice.param_names
    timeout = Choice.timeout

    def setup(self, optimizer, dtype, rows):
        try:
            from fastreg.linear.samples import Samples
            from fastreg.linear.stream import Stream, Task
            from fastreg.linear.strengths import StrengthStream
        except ImportError as error:
            raise NotImplementedError(str(error)) from error
        x, y = data(rows)
        samples, targets, order = Samples(x.astype(dtype)), 2.0 * y - 1, np.arange(len(y))
        strengths = [(alpha / 2, alpha / 2) for alpha in ALPHAS]
        task = Task(
            lambda t, *_: (np.full(np.shape(t), 0.05), None), (0, 0, 0), "log_loss", 0.0, optimizer == "sgd", 0.0
        )
        many = StrengthStream(x.shape[1], 1, strengths, dtype, optimizer, True)
        streams = [Stream(x.shape[1], 1, dtype, optimizer, True) for _ in strengths]
        tasks = [task._replace(strengths=(*own, 0.0)) for own in strengths]

        def each():
            for stream, own in zip(streams, tasks):
                stream.learn(samples, order, targets, None, own)

        self.many, self.each = lambda: many.learn(samples, order, targets, None, task), each

    def time_epoch(self, optimizer, dtype, rows):
        self.many()

    def track_share(self, optimizer, dtype, rows):
        return ratio(statement("many()", many=self.many), statement("each()", each=self.each), budget=10)


Strengths.track_share.unit = "of the time of 32 single passes"
