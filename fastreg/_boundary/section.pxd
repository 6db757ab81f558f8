# Layer 4, critical sections: see section.pyx. An object that is changed in place has one Section.
#
#     self.section.begin("step")      RuntimeError if another call that writes is under way
#     try:
#         ...                         everything that may raise or run code of the caller
#         self.section.lock(True)     the commit: runs no code of the caller and cannot fail
#         ...
#         self.section.unlock()
#     finally:
#         self.section.end()
#
# Code that only reads does so between lock(False) and unlock(), and waits for a commit under way. A commit that never
# releases the GIL needs no lock if no other thread holds it: `enter` and `leave` skip it then, which makes small steps
# faster (benchmarks CallOfStep and Lazy).

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
    cdef readonly unsigned long long version  # number of commits so far
    cdef bint writing                         # whether a call that writes is under way
    cdef unsigned long long next_ticket       # threads get the lock in the order in which they asked for it
    cdef unsigned long long serving
    cdef unsigned long holder                 # the thread that holds the lock, or 0
    cdef long long forks                      # of the process, when the fields above were last reset

    cdef void reset_after_fork(self) noexcept
    cdef int begin(self, str method) except -1
    cdef void end(self) noexcept
    cdef int lock(self, bint write) except -1
    cdef void unlock(self) noexcept
    cdef object seal(self)


cdef inline int enter(Section section, bint write, bint keeps_gil) except -1:
    """Lock the data if that is necessary; whether it was."""
    if keeps_gil and not FREE_THREADED and section.serving == section.next_ticket:
        section.version += write
        return False
    section.lock(write)
    return True


cdef inline void leave(Section section, bint locked) noexcept:
    if locked:
        section.unlock()
