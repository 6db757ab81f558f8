# Layer 4, the records of a linear model at many strengths: their dtype, their check, and pickles. Included by
# strengths.pyx; uses its cimports.

cdef dict FIELDS = {  # of a record, by direction; FTRL's weights follow from its state
    reference.Plain: ("inverse", "total", "w", "stamp"),
    reference.Adagrad: ("w", "a", "stamp"),
    reference.FTRL: ("a", "b"),
}


def lanes_of(Py_ssize_t strengths):
    """The number of places for so many strengths in an array."""
    return (strengths + VECTOR - 1)//VECTOR*VECTOR


def record_type(object direction, dtype, Py_ssize_t columns, Py_ssize_t strengths):
    """The dtype of a feature's record: see the structure Columns."""
    lanes = lanes_of(strengths)
    formats = {"stamp": ("i8", ()), "inverse": ("f8", (lanes,)), "total": ("f8", (lanes,))}
    names = FIELDS[type(direction)]
    formats = [formats.get(name, (dtype, (columns, lanes))) for name in names]
    sizes = np.cumsum([0, *(np.dtype(x).itemsize for x in formats)]).tolist()
    return np.dtype({"names": names, "formats": formats, "offsets": sizes[:-1],
                     "itemsize": -(-sizes[-1]//ALIGNMENT)*ALIGNMENT})


def new_records(Py_ssize_t features, dtype):
    """Records of zeros that begin at a cache line.

    In pages of 2 MB, where the system has them: samples read records all over the memory, and to find the page of each
    took a third of an epoch. Memory that is never written is not taken.
    """
    cdef Py_ssize_t size = features*dtype.itemsize
    if size < HUGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        raw = np.zeros(size + ALIGNMENT, np.uint8)
    else:
        try:
            memory = mmap.mmap(-1, size + ALIGNMENT, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as error:
            raise MemoryError(f"strengths: expected {size} bytes of memory, got {error}") from None
        try:
            memory.madvise(mmap.MADV_HUGEPAGE)
        except OSError:  # it is only advice
            pass
        raw = np.frombuffer(memory, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start:start + size].view(dtype)


cdef tuple state_of(StrengthLearner self, Py_ssize_t s):
    """What a model at strength s needs to go on: arrays by name of its records, intercept and its state, the arguments
    of Learner._restore and Learner._count, and the factors. FTRL's weights are up to date.
    """
    fields = {}
    self.section.lock(False)
    try:
        for name in self.records.dtype.names:
            x = self.records[name]
            fields[name] = (x if name == "stamp" else x[..., s]).copy()
        if "w" not in fields:
            fields["w"] = np.empty((self.v.t.rows, self.v.t.width), self.last.dtype)
            self.read_weights(s, fields["w"])
        intercept = [x[:, s].copy() for x in self.intercept]
        l1, l2 = (self.last[:2] if self.v.t.direction == FTRL_PROXIMAL else self.table)[:, s].tolist()
        record = (self.v.t.steps, *self.clocks[:4, s].tolist(), self.v.t.d.plain.lr, l1, l2, 0.0, self.v.t.built_on)
        numbers = counters_of(self)
        factors = self.factors
    finally:
        self.section.unlock()
    return fields, intercept, record, numbers, factors


cdef tuple reduced(StrengthLearner self):
    """For pickle: only records that differ from the most frequent one are stored."""
    cdef Py_ssize_t words = self.records.itemsize//8, first
    rows = len(self.records)
    self.section.lock(False)
    try:
        raw = self.records.view(np.uint64).reshape(rows, words)
        background = raw[find_background(raw)].copy() if rows else np.zeros(words, np.uint64)
        found = [np.flatnonzero((raw[first:first + BLOCK] != background).any(1)) + first
                 for first in range(0, rows, BLOCK)]
        indices = np.concatenate(found) if found else np.empty(0, np.intp)
        kept = raw[indices]
        small = tuple(x.copy() if isinstance(x, np.ndarray) and x is not self.factors else x for x in self.small())
        intercept = [x.copy() for x in self.intercept]
    finally:
        self.section.unlock()
    return _rebuild, (rows, self.records.dtype, self.direction, self.strengths, self.v.t.low, background, indices,
                      kept, intercept, small)


cdef Py_ssize_t find_background(ndarray raw) except -1:
    """The place of a record that is frequent in a sample."""
    every = max(1, len(raw)//256)
    _, first, counts = np.unique(raw[::every], axis=0, return_index=True, return_counts=True)
    return first[counts.argmax()]*every


def _rebuild(rows, dtype, direction, strengths, low, background, indices, kept, intercept, small):
    """Create a StrengthLearner from a pickle. A file may contain anything."""
    cdef StrengthLearner new
    is_valid = (isinstance(dtype, np.dtype) and not dtype.hasobject and dtype.itemsize > 0 and isinstance(rows, int)
                and all(isinstance(x, np.ndarray) for x in (background, indices, kept))
                and background.dtype == kept.dtype == np.uint64 and indices.dtype.kind == "i"
                and background.shape == (dtype.itemsize//8,) and kept.shape == (len(indices), *background.shape)
                and 0 <= indices.min(initial=0) <= indices.max(initial=0) < max(rows, 1))
    if not is_valid:
        raise ValueError("records: expected records with their indices, got others; the file is damaged")
    records = new_records(rows, dtype)
    raw = records.view(np.uint64).reshape(rows, len(background))
    if background.any():
        raw[:] = background
    raw[indices] = kept
    new = StrengthLearner(records, direction, [np.empty(x.shape, x.dtype) for x in intercept], strengths, low)
    new.take(intercept, small)
    return new


cdef object check_records(ndarray records, object direction, list intercept, ndarray strengths):
    """The dtype of the weights and the number of columns; ValueError unless everything fits. A file may contain
    anything.
    """
    try:
        field = records.dtype["a" if type(direction) is reference.FTRL else "w"]
        base, columns = field.base, field.shape[0]
        is_valid = (base in (np.float32, np.float64) and columns > 0 and records.ndim == 1 and len(strengths) > 0
                    and np.shape(strengths) == (len(strengths), 2) and strengths.dtype == np.float64
                    and records.dtype == record_type(direction, base, columns, len(strengths))
                    and records.flags.carray
                    and len(intercept) in (0, 1 + len(set(records.dtype.names) & {"a", "b"})))
        shape = columns, lanes_of(len(strengths))
        is_valid = is_valid and all(x.dtype == base and x.shape == shape and x.flags.carray for x in intercept)
    except (AttributeError, IndexError, KeyError, TypeError):
        is_valid = False
    if not is_valid:
        raise ValueError(
            f"records: expected those of {type(direction).__name__}, got others; the file is damaged or of another kind"
        )
    return base, columns
