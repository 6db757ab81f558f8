"""The lesson, sentence by sentence: each experiment is designed so that it could refute its sentences.

sentences.py  the sentences, and the verdict from the cases of an experiment
fits.py       many linear regressions in one descent, strengths chosen on validation data
designs.py    data with known weights
pull.py       one step of each rule without a gradient; the way to zero; the minimum
zeros.py      exact zeros by mode, and the path of every weight
support.py    a known support: which features are found, which are false
truths.py     the same size of data with a sparse and with a dense truth
bootstrap.py  resamples of independent features, of correlated ones and of copies
variance.py   bias and variance over repeated samples
plane.py      the plane of l1 and l2
grouped.py    correlated groups, many more features than samples
counted.py    how often the elastic net is best
robust.py     test accuracy under input noise
"""
