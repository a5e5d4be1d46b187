"""Shared evaluation: counts that add up across sites, and the figures that follow from them."""

from common.metrics.counts import Counts as Counts
from common.metrics.figures import figures as figures
from common.metrics.tally import Scored as Scored
from common.metrics.tally import count as count
from common.metrics.tally import count_replicates as count_replicates
from common.metrics.thresholds import OperatingPoint as OperatingPoint
