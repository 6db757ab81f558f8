# Between layers 2 and 4: the part of a task that is worked on at a time, by a thread or in the first-level cache, and
# what both layers ask of the rows of a lazy update.

from fastreg._kernels.table cimport (
    ADAGRAD, BFLOAT16, Columns, DirectionCode, DType, FLOAT64, FTRL_ARRAYS, FTRL_PROXIMAL, PANEL, PLAIN, Rows, Task,
)


cdef inline Py_ssize_t bytes_of(DType dtype) noexcept nogil:
    """The size of a stored number in bytes."""
    return 8 if dtype == FLOAT64 else 2 if dtype == BFLOAT16 else 4


cdef inline void* offset(const void* start, Py_ssize_t size) noexcept nogil:
    return <char*>start + size if start != NULL else NULL


cdef inline Task shifted(const Task* t, Py_ssize_t start, Py_ssize_t n) noexcept nogil:
    """The task for the n coordinates from `start`."""
    cdef Py_ssize_t stored = start*bytes_of(t.dtype), computed = start*max(4, bytes_of(t.dtype))
    cdef Task s = t[0]
    s.n = n
    s.w, s.g = offset(t.w, stored), offset(t.g, stored)
    s.a, s.b, s.c, s.f = offset(t.a, computed), offset(t.b, computed), offset(t.c, computed), offset(t.f, computed)
    s.low, s.high = offset(t.low, computed*t.bound_step), offset(t.high, computed*t.bound_step)
    return s


cdef inline Task group_slice(const Task* t, Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    """The task for `count` groups. Unless they are contiguous, they have other groups between them."""
    cdef Task s = shifted(t, first*t.inner, t.outer*count*t.inner)
    s.groups = count
    return s


cdef enum:
    MOST_PANELS = 64
    LEAST_LINES = 64


cdef inline Py_ssize_t lines_of_panel(const Task* t) noexcept nogil:
    """Groups are added up by panels, which are lines of the outer index, so that threads can share them."""
    return max((t.outer + MOST_PANELS - 1) // MOST_PANELS, <Py_ssize_t>LEAST_LINES)


cdef inline Py_ssize_t panels_of(const Task* t) noexcept nogil:
    return t.outer // lines_of_panel(t) if t.outer >= 2*LEAST_LINES else 1


cdef inline Task panel_of(const Task* t, Py_ssize_t k) noexcept nogil:
    """The task for a panel. The last one has the lines that are left, too."""
    cdef Py_ssize_t lines = lines_of_panel(t), first = k*lines
    cdef Task s = shifted(t, first*t.pitch, t.n)
    s.outer = t.outer - first if k == panels_of(t) - 1 else lines
    return s


cdef inline double rate_of_z(const Rows* t) noexcept nogil:
    """The lr that z of FTRL is built on: that of the last step that had one; 0 if z fits any."""
    return t.d.plain.lr if t.d.plain.lr != 0 else t.built_on


cdef inline Py_ssize_t contiguous_arrays(DirectionCode direction) noexcept nogil:
    """How many arrays the weights of a column take under dense samples: w, its state, and the roots of FTRL's n."""
    return 1 if direction == PLAIN else 2 if direction == ADAGRAD else FTRL_ARRAYS


cdef inline Py_ssize_t contiguous_pitch(const Rows* t) noexcept nogil:
    """The numbers from one of these arrays to the next: whole cache lines."""
    return (t.rows + 15) // 16*16


cdef inline Py_ssize_t contiguous_size(const Rows* t) noexcept nogil:
    """The bytes of all columns, of factors, and of what aligns them."""
    return (contiguous_arrays(t.direction)*t.width + 1)*contiguous_pitch(t)*bytes_of(t.dtype) + 64


cdef inline Py_ssize_t panels_of_column(const Columns* v) noexcept nogil:
    """The panels of the strengths of a column."""
    return (v.lanes + PANEL - 1) // PANEL


cdef inline Py_ssize_t tile_size(const Columns* v, Py_ssize_t longest, bint dense) noexcept nogil:
    """The numbers in the tile of a linear model at many strengths: FTRL's weights of a sample, or those of one row, and
    all rows with their state in panels.
    """
    cdef Py_ssize_t size = v.t.width*v.lanes
    if v.t.direction != FTRL_PROXIMAL:
        return 0
    return size + FTRL_ARRAYS*PANEL*panels_of_column(v)*v.t.width*longest if dense else max(longest, 1)*size
