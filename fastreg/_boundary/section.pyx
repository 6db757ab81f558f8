"""Layer 4, critical sections: calls that change one object happen whole, one at a time, and readers see whole states.

A call that writes first prepares everything, during which it can fail and may run a caller's code. Then it commits,
between `lock` and `unlock`, by code that no interrupt can stop halfway. Whoever reads or commits in another thread
meanwhile waits its turn. A fork waits for the commits under way, so that the child finds whole states; locks that other
threads held are void there. threading.Lock serves none of this: an interrupt can come between its acquisition and the
`try` after it, a child inherits it locked, and a thread that steps in a loop starves those who wait to read.

The numbers here are protected by the GIL, and in free-threaded builds by Cython's critical sections.
"""
from cpython.pythread cimport (
    PyThread_acquire_lock, PyThread_allocate_lock, PyThread_type_lock, WAIT_LOCK,
)

import cython

import os

cdef extern from "pythread.h":
    unsigned long PyThread_get_thread_ident() nogil  # which Cython declares as signed
    int PyThread_acquire_lock_timed(PyThread_type_lock lock, long long microseconds, int interruptible) nogil

cdef extern from *:
    """
    #if defined(_MSC_VER)
      static __declspec(thread) int fastreg_held = 0;
    #else
      static __thread int fastreg_held = 0;
    #endif
    """
    int held "fastreg_held"  # how many sections this thread has locked

cdef enum:
    PAUSE = 50           # microseconds between two looks
    PATIENCE = 10000000  # microseconds that a fork waits for commits, and commits for a fork, at most


@cython.final
cdef class Gate:
    """What all sections of the process share."""

    cdef Py_ssize_t locked  # how many sections are
    cdef int forking        # how many threads are about to fork
    cdef long long forks    # how many processes lie between this one and the first


cdef Gate gate = Gate()

cdef PyThread_type_lock never = PyThread_allocate_lock()  # to sleep on: nobody releases it
PyThread_acquire_lock(never, WAIT_LOCK)


cdef void pause() noexcept:
    with nogil:
        PyThread_acquire_lock_timed(never, PAUSE, 0)


@cython.final
cdef class Section:
    """The critical section of one object."""

    def __cinit__(self):
        self.forks = gate.forks

    cdef void renew(self) noexcept:
        """In a forked child: those who were at something in the parent's threads are not here."""
        if self.forks != gate.forks:
            self.forks, self.writing, self.holder, self.serving = gate.forks, False, 0, self.next_ticket

    cdef int begin(self, str method) except -1:
        """A call that writes begins; RuntimeError while another is under way, in this thread or another."""
        with cython.critical_section(self):
            self.renew()
            if self.writing:
                raise RuntimeError(f"{method}: expected one call at a time, got another while one is under way")
            self.writing = True
        return 0

    cdef void end(self) noexcept:
        self.writing = False

    cdef int lock(self, bint write) except -1:
        """Wait for whoever has locked the data, and lock them."""
        cdef unsigned long thread = PyThread_get_thread_ident()
        cdef unsigned long long ticket
        cdef bint served
        with cython.critical_section(self):
            self.renew()
            if self.holder == thread:  # it is a signal handler's or a finalizer's call
                raise RuntimeError("expected a call between others of this object, got one in the middle of another")
            ticket = self.next_ticket
            self.next_ticket += 1
        while True:
            with cython.critical_section(self):
                served = self.serving == ticket
            if served:
                break
            pause()
        pass_gate()
        self.holder = thread
        self.version += write
        return 0

    cdef void unlock(self) noexcept:
        global held
        self.holder = 0
        held -= 1
        with cython.critical_section(gate):
            gate.locked -= 1
        with cython.critical_section(self):
            self.serving += 1

    cdef object seal(self):
        """Belongs behind what is pickled or copied after the data were locked: see Seal."""
        return Seal(self)


cdef void pass_gate() noexcept:
    """Wait for a fork, but not where a section locked by this thread is what the fork waits for."""
    global held
    cdef long long waited = 0
    while True:
        with cython.critical_section(gate):
            if gate.forking == 0 or held > 0 or waited > PATIENCE:
                gate.locked += 1
                held += 1
                return
        pause()
        waited += PAUSE


@cython.final
cdef class Seal:
    """Stands behind arrays that pickle or deepcopy read later: an error where they have been changed meanwhile."""

    cdef Section section
    cdef unsigned long long version

    def __cinit__(self, Section section):
        self.section, self.version = section, section.version

    def __reduce__(self):
        self.section.lock(False)
        changed = self.version != self.section.version
        self.section.unlock()
        if changed:
            raise RuntimeError("expected an object that stays as it is while it is copied or pickled, got a change")
        return broken_seal, ()


def broken_seal():
    """What is left of a Seal in a copy."""
    return None


# -- Forks ------------------------------------------------------------------------------------------------------------

def before_fork():
    """Let no commit begin, and wait for those under way in other threads."""
    cdef long long waited = 0
    with cython.critical_section(gate):
        gate.forking += 1
    while gate.locked > held and waited < PATIENCE:
        pause()
        waited += PAUSE


def after_fork_in_parent():
    with cython.critical_section(gate):
        gate.forking -= 1


def after_fork_in_child():
    gate.forking, gate.locked = 0, held
    gate.forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=before_fork, after_in_parent=after_fork_in_parent, after_in_child=after_fork_in_child)
