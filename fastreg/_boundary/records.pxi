# Layer 4, the records of the linear models: their dtype, their check, and pickles. Included by linear.pyx; uses its
# cimports.

cdef dict FIELDS = {  # of a record, by direction: the weight and its state
    reference.Plain: ("w",),
    reference.Adagrad: ("w", "a"),
    reference.FTRL: ("w", "a", "b"),
}


def record_type(object direction, dtype, Py_ssize_t columns):
    """The dtype of a feature's record: the weights of all columns, their state, and the stamp of the last update."""
    fields = []
    direction_type = type(direction)
    for name in FIELDS[direction_type]:
        fields.append((name, dtype, (columns,)))
    if direction_type is not reference.FTRL:
        fields.insert(0, ("stamp", "i8", (1,)) if direction_type is reference.Adagrad else ("stamp", "f8", (2,)))
    size = np.dtype(fields, align=True).itemsize
    if size <= 16:  # padding, so that no record straddles two cache lines
        fields.append(("", f"V{(1 << (size - 1).bit_length()) - size}"))
    return np.dtype(fields, align=True)


cdef object check_records(ndarray records, object direction, list intercept):
    """The dtype of the weights; ValueError unless records and intercept fit each other. A file may contain anything."""
    try:
        w = records.dtype["w"]
        base, columns = w.base, w.shape[0]
        is_valid = (base in (np.float32, np.float64) and columns > 0 and records.ndim == 1
                    and records.dtype == record_type(direction, base, columns) and PyArray_ISCARRAY(records)
                    and len(intercept) in (0, len(FIELDS[type(direction)])))
        is_valid = is_valid and all(x.dtype == base and x.shape == (columns,) and x.flags.carray for x in intercept)
    except (AttributeError, IndexError, KeyError, TypeError):
        is_valid = False
    if not is_valid:
        raise ValueError(
            f"records: expected those of {type(direction).__name__}, got others; the file is damaged or of another kind"
        )
    return base


cdef void add_number(DType dtype, void* x, Py_ssize_t n, double number) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n if number != 0 else 0):
        if dtype == FLOAT32:
            (<float*>x)[i] += <float>number
        else:
            (<double*>x)[i] += number


def writable(ndarray x):
    """An array that can be written: a copy if this one cannot."""
    return x if x.flags.writeable else x.copy()


def _rebuild(records, direction, intercept, record, numbers, factors, bounds):
    """Create a Learner from a pickle. Its arrays may be read-only, since joblib can map them into memory."""
    if not records.flags.writeable:
        records = records.view(f"V{records.itemsize}").copy().view(records.dtype)  # with the bytes between the fields
    intercept = list(map(writable, intercept))  # a comprehension frees an array twice where an append gets no memory
    learner = Learner(records, direction, intercept, factors, *bounds)
    learner._restore(*record)
    learner._count(*numbers)
    return learner
