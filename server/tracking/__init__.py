"""A run told to MLflow or TensorBoard, at the coordinator's side and only where it is asked for.

What is told is what the run's own files hold: the shared experiment, the line of each round, and
the values of the result. Nothing here asks a site for anything.
"""

from server.tracking.tracker import TrackedProgress as TrackedProgress
from server.tracking.tracker import Tracker as Tracker
from server.tracking.tracker import open_tracker as open_tracker
from server.tracking.tracker import require_tracker as require_tracker
