"""Imported by the fork server of ``tasks.py``, which is then killed with what started it.

By itself a fork server stays until its last child has ended, so that a client that was killed while
it trains would leave both behind.
"""

from common.processes import end_with_starter

end_with_starter()
