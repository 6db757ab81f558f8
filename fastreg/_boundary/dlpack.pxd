# Layer 4, the part of DLPack's C exchange API (version 1.3 of dlpack.h) with which torch tells where a tensor lies. The
# structs are declared here, so that the build needs neither torch nor dlpack.h. Cython's own struct keeps C's layout.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    DLPACK_MAJOR_VERSION = 1
    DL_CPU = 1     # DLDeviceType
    DL_FLOAT = 2   # DLDataTypeCode
    DL_BFLOAT = 4

cdef struct DLPackVersion:
    uint32_t major
    uint32_t minor

cdef struct DLDevice:
    int32_t device_type
    int32_t device_id

cdef struct DLDataType:
    uint8_t code
    uint8_t bits
    uint16_t lanes

cdef struct DLTensor:  # borrowed: valid as long as the tensor exists and is not resized
    void* data
    DLDevice device
    int32_t ndim
    DLDataType dtype
    int64_t* shape
    int64_t* strides  # in elements
    uint64_t byte_offset

ctypedef int (*DLTensorFromObject)(void* object, DLTensor* out) noexcept  # not 0 with an exception set, if it fails

cdef struct DLPackExchangeAPI:
    DLPackVersion version
    DLPackExchangeAPI* previous  # an older major version, or NULL
    void* managed_tensor_allocator
    void* managed_tensor_from_py_object_no_sync
    void* managed_tensor_to_py_object_no_sync
    DLTensorFromObject dltensor_from_py_object_no_sync  # may be NULL
    void* current_work_stream
