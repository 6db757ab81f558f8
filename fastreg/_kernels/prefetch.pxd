# Layer 2: prefetching. It changes no result: only when memory is in the cache.

from fastreg.structs cimport floating

cdef extern from *:
    """
    #if defined(__GNUC__) || defined(__clang__)
      #define fastreg_prefetch(address) __builtin_prefetch(address)
      #define fastreg_prefetch_level2(address) __builtin_prefetch(address, 0, 2)
      /* The empty asm keeps gcc from finding that a loop of prefetches has no effect, and leaving it out. */
      #define fastreg_prefetch_volatile(address) do { __builtin_prefetch(address); __asm__ volatile(""); } while (0)
    #else
      #define fastreg_prefetch(address) ((void)0)
      #define fastreg_prefetch_level2(address) ((void)0)
      #define fastreg_prefetch_volatile(address) ((void)0)
    #endif
    """
    void prefetch "fastreg_prefetch"(const void* address) noexcept nogil
    void prefetch_level2 "fastreg_prefetch_level2"(const void* address) noexcept nogil
    void prefetch_volatile "fastreg_prefetch_volatile"(const void* address) noexcept nogil

cdef enum:
    CACHE_LINE = 64     # bytes
    CHUNK = 16          # coordinates: a cache line of float32, two of float64
    AHEAD = 2048        # bytes: far enough for the memory, near enough for the first-level cache
    BEYOND_L2 = 1 << 20  # bytes of an array that does not come from the second level


cdef inline void prefetch_chunk(const floating* there, Py_ssize_t ahead) noexcept nogil:
    """Prefetches the chunk that is so many bytes ahead of this one."""
    cdef Py_ssize_t j
    for j in range(<Py_ssize_t>(CHUNK*sizeof(floating)//CACHE_LINE)):
        prefetch(<const char*>there + ahead + CACHE_LINE*j)


cdef inline void prefetch_chunk_level2(const floating* there) noexcept nogil:
    """The same from twice as far ahead, and into the second level alone.

    In memory, the limit is how many lines the first level can wait for at a time. With the gradient kept out of it,
    rules with l1 came from 1.05 to 1.03 of the time of a loop without arithmetic (InDram).
    """
    cdef Py_ssize_t j
    for j in range(<Py_ssize_t>(CHUNK*sizeof(floating)//CACHE_LINE)):
        prefetch_level2(<const char*>there + 2*AHEAD + CACHE_LINE*j)


cdef inline void prefetch_range(const char* start, const char* stop) noexcept nogil:
    while start < stop:
        prefetch_volatile(start)
        start += CACHE_LINE


cdef inline void prefetch_range_level2(const char* start, const char* stop) noexcept nogil:
    while start < stop:
        prefetch_level2(start)
        start += CACHE_LINE
