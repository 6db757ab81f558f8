# Layer 4, what a step of fastreg.torch writes back: stand-ins, into tensors that the kernels cannot use as they lie.
# Included by torch_step.pyx; uses its cimports. torch's copy_ was rejected: modes of torch run Python code in it, and
# it can fail after other tensors have been written.

cdef enum:
    MAX_DIMS = 64

cdef struct Copy:
    DLTensor target
    DLTensor source     # of the same shape
    bint is_negated     # torch negates the elements of the target when it reads them
    Py_ssize_t index    # of the task

cdef struct Copies:
    Copy* copies
    Py_ssize_t count, capacity


cdef void* grown(void* memory, Py_ssize_t count, size_t size) except NULL:
    cdef void* larger = PyMem_Realloc(memory, count*size)
    if larger == NULL:
        raise MemoryError
    return larger


cdef Copy* new_copy(Copies* x) except NULL:
    """One more copy; pointers to earlier ones may move."""
    cdef Py_ssize_t n = 2*x.capacity + 8
    if x.count == x.capacity:
        x.copies = <Copy*>grown(x.copies, n, sizeof(Copy))
        x.capacity = n
    x.count += 1
    return &x.copies[x.count - 1]


cdef inline double element(const char* x, DType dtype) noexcept nogil:
    if dtype == FLOAT64:
        return (<const double*>x)[0]
    if dtype == FLOAT32:
        return (<const float*>x)[0]
    return from_bfloat16((<const bfloat16*>x)[0])


cdef inline void set_element(char* x, DType dtype, double number) noexcept nogil:
    """x[0] = number, rounded to the dtype, for bfloat16 by way of float32."""
    if dtype == FLOAT64:
        (<double*>x)[0] = number
    elif dtype == FLOAT32:
        (<float*>x)[0] = <float>number
    else:
        (<bfloat16*>x)[0] = to_bfloat16(<float>number)


cdef void write_row(const Copy* c, char* x, const char* y, Py_ssize_t n, Py_ssize_t x_step, Py_ssize_t y_step
                    ) noexcept nogil:
    """Writes n elements; the steps are in bytes."""
    cdef DType to = torch_dtype(&c.target), of = torch_dtype(&c.source)
    cdef Py_ssize_t i
    if to == of == FLOAT32 and not c.is_negated:
        for i in range(n):
            (<float*>(x + i*x_step))[0] = (<const float*>(y + i*y_step))[0]
    elif to == of == FLOAT64 and not c.is_negated:
        for i in range(n):
            (<double*>(x + i*x_step))[0] = (<const double*>(y + i*y_step))[0]
    else:
        for i in range(n):
            set_element(x + i*x_step, to, -element(y + i*y_step, of) if c.is_negated else element(y + i*y_step, of))


cdef void write_back(const Copy* c) noexcept nogil:
    """target[...] = source."""
    cdef int64_t[MAX_DIMS] at
    cdef int last = c.target.ndim - 1, k
    cdef Py_ssize_t size = size_of(&c.target), n = c.target.shape[last] if last >= 0 else 1, row
    cdef Py_ssize_t x_size = bytes_of(torch_dtype(&c.target)), y_size = bytes_of(torch_dtype(&c.source))
    cdef char* x = <char*>memory_of(&c.target)
    cdef const char* y = <const char*>memory_of(&c.source)
    if size == 0:
        return
    memset(at, 0, sizeof(at))
    for row in range(size // n):
        write_row(c, x, y, n, c.target.strides[last]*x_size if last >= 0 else 0,
                  c.source.strides[last]*y_size if last >= 0 else 0)
        k = last - 1
        while k >= 0:
            at[k] += 1
            x += c.target.strides[k]*x_size
            y += c.source.strides[k]*y_size
            if at[k] < c.target.shape[k]:
                break
            x -= c.target.strides[k]*x_size*at[k]
            y -= c.source.strides[k]*y_size*at[k]
            at[k] = 0
            k -= 1


cdef void write_all_back(const Copies* x) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(x.count):
        write_back(&x.copies[i])


cdef list pieces_of(const Copies* x, const Blocks* sorted):
    """What strided.find_shared needs to know of the targets, and of the other memory that is written between them."""
    cdef list pieces = []
    cdef set seen = set()
    cdef Py_ssize_t i, j, size, reach
    cdef const DLTensor* t
    cdef const char* start
    for i in range(x.count):
        t, reach = &x.copies[i].target, 1
        if size_of(t) == 0:
            continue
        start, size = <const char*>memory_of(t), bytes_of(torch_dtype(t))
        shape, strides = tuple([t.shape[j] for j in range(t.ndim)]), tuple([t.strides[j] for j in range(t.ndim)])
        pieces.append((x.copies[i].index, <size_t>start, size, shape, strides))
        for j in range(t.ndim):
            reach += (t.shape[j] - 1)*t.strides[j]
        j = block_after(sorted, start)
        while j < sorted.count and sorted.blocks[j].start < start + reach*size:
            if j not in seen:
                seen.add(j)
                pieces.append((sorted.blocks[j].index, <size_t>sorted.blocks[j].start,
                               sorted.blocks[j].end - sorted.blocks[j].start, (), ()))
            j += 1
    return pieces
