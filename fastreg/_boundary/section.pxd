# Layer 4, critical sections: see section.pyx. A Section belongs to one object that is changed in place.
#
#     self.section.begin("step")      one call that writes at a time; another one gets a RuntimeError
#     try:
#         ...                         everything that may raise, and everything that may run a caller's code
#         self.section.lock(True)     the commit: no caller's code, nothing that can fail halfway
#         ...
#         self.section.unlock()
#     finally:
#         self.section.end()
#
# What only reads does it between lock(False) and unlock(), and waits for a commit under way. What holds the GIL from
# beginning to end needs no lock while nobody has it: `enter` and `leave`, for small steps (CallOfStep, Lazy).

cimport cython


cdef extern from *:
    """
    #ifdef Py_GIL_DISABLED
      #define FASTREG_FREE_THREADED 1
    #else
      #define FASTREG_FREE_THREADED 0
    #endif
    """
    bint FREE_THREADED "FASTREG_FREE_THREADED"


@cython.final
cdef class Section:
    cdef readonly unsigned long long version  # how many commits there were
    cdef bint writing                         # whether a call that writes is under way
    cdef unsigned long long next_ticket       # the data are locked by ticket, first come, first served
    cdef unsigned long long serving
    cdef unsigned long holder                 # the thread that has locked the data, or 0
    cdef long long forks                      # of the process, when all of this was last reset

    cdef void renew(self) noexcept
    cdef int begin(self, str method) except -1
    cdef void end(self) noexcept
    cdef int lock(self, bint write) except -1
    cdef void unlock(self) noexcept
    cdef object seal(self)


cdef inline int enter(Section section, bint write, bint keeps_gil) except -1:
    """Lock the data, unless that is needless; whether it was done."""
    if keeps_gil and not FREE_THREADED and section.serving == section.next_ticket:
        section.version += write
        return False
    section.lock(write)
    return True


cdef inline void leave(Section section, bint locked) noexcept:
    if locked:
        section.unlock()
