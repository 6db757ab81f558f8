"""An alarm: a real signal that interrupts a long call."""

import signal


class Alarm:
    """Raises KeyboardInterrupt in the main thread after a delay, unless the call has returned by then."""

    def __init__(self):
        self.armed = False

    def __enter__(self):
        self.before = signal.signal(signal.SIGALRM, self.ring)
        return self

    def __exit__(self, *_):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.before)

    def ring(self, *_):
        if self.armed:
            self.armed = False
            raise KeyboardInterrupt

    def disturb(self, act, delay):
        """Calls act with an alarm after a delay; whether it was disturbed."""
        try:
            self.armed = True
            signal.setitimer(signal.ITIMER_REAL, delay)
            act()
            self.armed = False
        except KeyboardInterrupt:
            return True
        return False
