"""Layer 4, the instruction sets that the processor and the operating system support."""

cdef extern from *:
    """
    #if defined(__x86_64__) || defined(__i386__) || defined(_M_X64) || defined(_M_IX86)
      #if defined(_MSC_VER) && !defined(__clang__)
        #include <immintrin.h>
        #include <intrin.h>
        static int fastreg_has_avx2(void) {
            int r[4];
            __cpuid(r, 0);
            if (r[0] < 7) return 0;
            __cpuid(r, 1);
            /* OSXSAVE and AVX; then whether the operating system saves the xmm and ymm registers */
            if ((r[2] & 0x18000000) != 0x18000000 || (_xgetbv(0) & 6) != 6) return 0;
            __cpuidex(r, 7, 0);
            return (r[1] >> 5) & 1;
        }
      #else
        static int fastreg_has_avx2(void) {
            __builtin_cpu_init();
            return __builtin_cpu_supports("avx2") != 0;
        }
      #endif
    #else
      static int fastreg_has_avx2(void) { return 0; }
    #endif
    """
    bint has_avx2 "fastreg_has_avx2"() nogil


def features():
    """The names of the instruction sets that this machine supports, among those that fastreg has kernels for."""
    return frozenset(["AVX2"] if has_avx2() else [])
