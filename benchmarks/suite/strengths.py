"""Many strengths in one pass over the data, compared with a pass for each of them."""

import numpy as np

from .linear import counts
from .workload import ratio, statement

COUNT = 32
DENSE = 2_000, 200


class Strengths:
    """One epoch of 32 strengths: its time, and its time divided by that of 32 epochs, in interleaved rounds."""

    params = [["sgd", "adagrad", "ftrl"], ["float32", "float64"], ["dense", "sparse"]]
    param_names = ["optimizer", "dtype", "rows"]
    timeout = 600

    def setup(self, optimizer, dtype, rows):
        try:
            from fastreg.linear.samples import Samples
            from fastreg.linear.stream import Stream, Task
            from fastreg.linear.strengths import StrengthStream
        except ImportError as error:
            raise NotImplementedError(str(error)) from error
        rng = np.random.default_rng(0)
        if rows == "sparse":
            x, y = counts()
        else:
            x = rng.standard_normal(DENSE)
            y = (x[:, :10].sum(axis=1) + rng.standard_normal(len(x)) > 0).astype(int)
        samples, targets, order = Samples(x.astype(dtype)), 2.0 * y - 1, np.arange(len(y))
        strengths = [(alpha / 2, alpha / 2) for alpha in np.geomspace(0.1, 1e-4, COUNT)]
        task = Task(
            lambda t, _: (np.full(np.shape(t), 0.05), None), (0, 0, 0), "log_loss", 0.0, optimizer == "sgd", 0.0
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
