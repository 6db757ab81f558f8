# Layer 4, where torch's tensors lie in memory. Included by torch_step.pyx; uses its cimports.

cdef inline Py_ssize_t size_of(const DLTensor* x) noexcept nogil:
    """The number of elements."""
    cdef Py_ssize_t n = 1
    cdef int i
    for i in range(x.ndim):
        n *= x.shape[i]
    return n


cdef inline void* memory_of(const DLTensor* x) noexcept nogil:
    return <char*>x.data + x.byte_offset if x.data != NULL else NULL


cdef inline DType torch_dtype(const DLTensor* x) noexcept nogil:
    """The dtype of a tensor that is_usable accepts."""
    return BFLOAT16 if x.dtype.code == DL_BFLOAT else FLOAT64 if x.dtype.bits == 64 else FLOAT32


cdef inline bint is_usable(const DLTensor* x) noexcept:
    """Whether the kernels can read the elements: dtype, device, alignment, and that there is memory at all."""
    cdef bint is_known = (x.dtype.code == DL_FLOAT and (x.dtype.bits == 32 or x.dtype.bits == 64)
                          or x.dtype.code == DL_BFLOAT and x.dtype.bits == 16)
    return (is_known and x.dtype.lanes == 1 and x.device.device_type == DL_CPU
            and <size_t>memory_of(x) % <size_t>(x.dtype.bits // 8) == 0 and (x.data != NULL or size_of(x) == 0))


cdef bint is_dense(const DLTensor* x) noexcept:
    """Whether the elements fill their memory without gaps and overlaps, in any order of the dimensions."""
    cdef int64_t expected = 1
    cdef uint64_t seen = 0
    cdef int i, last = -1
    cdef bint is_found = True
    for i in range(x.ndim - 1, -1, -1):  # C order first, since most tensors have it
        if x.shape[i] != 1 and x.strides[i] != expected:
            last = i
            break
        expected *= x.shape[i]
    if last < 0 or size_of(x) == 0:
        return True
    if x.ndim > 64:
        return False
    expected = 1
    while is_found:  # the dimension whose neighbours are `expected` elements apart
        is_found = False
        for i in range(x.ndim):
            if x.shape[i] != 1 and not seen >> i & 1 and x.strides[i] == expected:
                seen, expected, is_found = seen | <uint64_t>1 << i, expected*x.shape[i], True
                break
    return expected == size_of(x)


cdef bint is_same_layout(const DLTensor* x, const DLTensor* y) noexcept:
    """Whether two tensors have the same shape, and elements in the same order."""
    cdef int i
    if x.ndim != y.ndim:
        return False
    for i in range(x.ndim):
        if x.shape[i] != y.shape[i] or (x.shape[i] != 1 and x.strides[i] != y.strides[i]):
            return x.shape[i] == y.shape[i] and size_of(x) == 0 and size_of(y) == 0
    return True


cdef Py_ssize_t inner_size(const DLTensor* w, Py_ssize_t k) noexcept:
    """How many elements have one index of each axis from k outwards: the order of the sums if axis k has size 1."""
    cdef Py_ssize_t i, after = 1, before = 1
    cdef bint is_c_order = True
    for i in range(w.ndim - 1, -1, -1):
        is_c_order &= w.shape[i] == 1 or w.strides[i] == after*before
        if i > k:
            after *= w.shape[i]
        elif i < k:
            before *= w.shape[i]
    return after if is_c_order else before


cdef int set_groups_of(Task* t, const DLTensor* w, object axis, str name) except -1:
    """Sets how the groups along an axis of a dense tensor lie in memory; without an axis, the tensor is one group."""
    cdef Py_ssize_t k
    t.outer, t.groups, t.inner, t.pitch = 1, 1, t.n, t.n
    if axis is None:
        return 0
    k = errors.axis_index(axis, w.ndim, name)
    if w.shape[k] == 1 and t.n > 0:
        t.inner = inner_size(w, k)
        t.pitch, t.outer = t.inner, t.n // t.inner
    elif t.n > 0:
        t.groups, t.inner = w.shape[k], w.strides[k]
        t.pitch = t.groups*t.inner
        t.outer = t.n // t.pitch
    return 0


cdef DLTensorFromObject exchange_function(object tensor_type) except? NULL:
    """torch's function that describes a tensor; NULL where this torch has none."""
    cdef DLPackExchangeAPI* api
    capsule = getattr(tensor_type, "__dlpack_c_exchange_api__", None)
    if capsule is None:
        return NULL
    api = <DLPackExchangeAPI*>PyCapsule_GetPointer(capsule, "dlpack_exchange_api")
    while api != NULL and api.version.major != DLPACK_MAJOR_VERSION:
        api = api.previous
    return api.dltensor_from_py_object_no_sync if api != NULL else NULL


cdef object describe(object x, DLTensor* out):
    """The same for a torch without such a function; returns what must be kept as long as `out` is used."""
    cdef bint is_strided = str(x.layout) == "torch.strided"
    cdef ndarray numbers = np.array([*x.shape, *x.stride()] if is_strided else [0], np.int64)
    cdef int ndim = x.dim() if is_strided else 0
    code, bits = DTYPES.get(str(x.dtype), (0, 0)) if is_strided else (0, 0)
    out.ndim, out.shape = ndim, <int64_t*>PyArray_DATA(numbers)
    out.strides, out.byte_offset = out.shape + ndim, 0
    out.dtype = DLDataType(code, bits, 1)
    out.device = DLDevice(DL_CPU if x.device.type == "cpu" else 0, 0)
    out.data = <void*><size_t>(x.data_ptr() if code and out.device.device_type == DL_CPU else 0)
    return numbers


cdef dict DTYPES = {"torch.float32": (DL_FLOAT, 32), "torch.float64": (DL_FLOAT, 64), "torch.bfloat16": (DL_BFLOAT, 16)}
