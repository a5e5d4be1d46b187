"""Imported by a fork server, first of all, which is then killed with what started it.

By itself a fork server stays until its last child has ended, so that what was killed while it
trains would leave both behind; and it does not end before it has imported what it is to.
"""

from common.processes import end_with_starter

end_with_starter()
