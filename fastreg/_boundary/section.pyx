"""Layer 4, critical sections: each call that changes an object is atomic, and readers see consistent states.

A call that writes first prepares everything; until then it can fail and may run code of the caller. Then it commits,
between `lock` and `unlock`, with code that no interrupt can stop halfway. Other threads that read or commit wait. A
fork waits for the commits under way, so that the child finds consistent states; it ignores the locks of threads that it
does not have. threading.Lock was rejected: an interrupt can arrive between its acquisition and the `try` after it, a
child inherits it locked, and a thread that steps in a loop starves the readers.

The fields are protected by the GIL, and in free-threaded builds by Cython's critical sections.
"""
from cpython.pythread cimport (
    PyThread_acquire_lock, PyThread_allocate_lock, PyThread_type_lock, WAIT_LOCK,
)

import cython

import os

cdef extern from "pythread.h":
    unsigned long PyThread_get_thread_ident() nogil  # Cython declares it as signed
    int PyThread_acquire_lock_timed(PyThread_type_lock lock, long long microseconds, int interruptible) nogil

cdef extern from *:
    """
    #if defined(_MSC_VER)
      static __declspec(thread) int fastreg_held = 0;
    #else
      static __thread int fastreg_held = 0;
    #endif
    """
    int held "fastreg_held"  # number of sections that this thread has locked

cdef enum:
    POLL_INTERVAL = 50   # microseconds
    MAX_WAIT = 10000000  # microseconds that a fork waits for commits, or a commit for a fork


@cython.final
cdef class ForkState:
    """What all sections of the process share, for forks."""

    cdef Py_ssize_t locked  # number of locked sections
    cdef int forking        # number of threads that are about to fork
    cdef long long forks    # number of forks between the first process and this one


cdef ForkState fork_state = ForkState()

cdef PyThread_type_lock unreleased_lock = PyThread_allocate_lock()  # waiting for it with a timeout is a sleep
PyThread_acquire_lock(unreleased_lock, WAIT_LOCK)


cdef void sleep_briefly() noexcept:
    with nogil:
        PyThread_acquire_lock_timed(unreleased_lock, POLL_INTERVAL, 0)


@cython.final
cdef class Section:
    """The critical section of one object."""

    def __cinit__(self):
        self.forks = fork_state.forks

    cdef void reset_after_fork(self) noexcept:
        """In a forked child, forget calls and locks of threads of the parent, which do not exist here."""
        if self.forks != fork_state.forks:
            self.forks, self.writing, self.holder, self.serving = fork_state.forks, False, 0, self.next_ticket

    cdef int begin(self, str method) except -1:
        """Begin a call that writes; RuntimeError if another one is under way, in this thread or another."""
        with cython.critical_section(self):
            self.reset_after_fork()
            if self.writing:
                raise RuntimeError(f"{method}: expected one call at a time, got another while one is under way")
            self.writing = True
        return 0

    cdef void end(self) noexcept:
        self.writing = False

    cdef int lock(self, bint write) except -1:
        """Wait until no other thread holds the lock, and take it."""
        cdef unsigned long thread = PyThread_get_thread_ident()
        cdef unsigned long long ticket
        cdef bint served
        with cython.critical_section(self):
            self.reset_after_fork()
            if self.holder == thread:  # called from a signal handler or a finalizer
                raise RuntimeError("expected one call at a time, got another in the same thread")
            ticket = self.next_ticket
            self.next_ticket += 1
        while True:
            with cython.critical_section(self):
                served = self.serving == ticket
            if served:
                break
            sleep_briefly()
        wait_for_fork()
        self.holder = thread
        self.version += write
        return 0

    cdef void unlock(self) noexcept:
        global held
        self.holder = 0
        held -= 1
        with cython.critical_section(fork_state):
            fork_state.locked -= 1
        with cython.critical_section(self):
            self.serving += 1

    cdef object seal(self):
        """To be pickled or copied after the arrays: see Seal."""
        return Seal(self)


cdef void wait_for_fork() noexcept:
    """Wait until no fork is about to happen, unless the fork itself waits for a section that this thread has locked."""
    global held
    cdef long long waited = 0
    while True:
        with cython.critical_section(fork_state):
            if fork_state.forking == 0 or held > 0 or waited > MAX_WAIT:
                fork_state.locked += 1
                held += 1
                return
        sleep_briefly()
        waited += POLL_INTERVAL


@cython.final
cdef class Seal:
    """Raises an error when it is pickled or copied after the object has changed.

    It follows arrays that pickle or deepcopy reads without the lock, and so finds out if they changed meanwhile.
    """

    cdef Section section
    cdef unsigned long long version

    def __cinit__(self, Section section):
        self.section, self.version = section, section.version

    def __reduce__(self):
        self.section.lock(False)
        changed = self.version != self.section.version
        self.section.unlock()
        if changed:
            raise RuntimeError("expected an object that does not change while it is copied or pickled, got a change")
        return copied_seal, ()


def copied_seal():
    """The value of a Seal in a copy or a pickle."""
    return None


# -- Forks ------------------------------------------------------------------------------------------------------------

def before_fork():
    """Stop new commits, and wait for those under way in other threads."""
    cdef long long waited = 0
    with cython.critical_section(fork_state):
        fork_state.forking += 1
    while fork_state.locked > held and waited < MAX_WAIT:
        sleep_briefly()
        waited += POLL_INTERVAL


def after_fork_in_parent():
    with cython.critical_section(fork_state):
        fork_state.forking -= 1


def after_fork_in_child():
    fork_state.forking, fork_state.locked = 0, held
    fork_state.forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=before_fork, after_in_parent=after_fork_in_parent, after_in_child=after_fork_in_child)
