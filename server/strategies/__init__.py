"""Aggregation strategies, one file each; the maths are pure functions."""

from server.strategies.base import PERSONAL as PERSONAL
from server.strategies.base import SHARED as SHARED
from server.strategies.base import STRATEGIES as STRATEGIES
from server.strategies.base import Assignment as Assignment
from server.strategies.base import Models as Models
from server.strategies.base import Strategy as Strategy
from server.strategies.base import StrategyState as StrategyState
from server.strategies.base import build_strategy as build_strategy
from server.strategies.ditto import Ditto as Ditto
from server.strategies.fedavg import FedAvg as FedAvg
from server.strategies.fedbn import FedBN as FedBN
from server.strategies.fedopt import FedAdam as FedAdam
from server.strategies.fedopt import FedAvgM as FedAvgM
from server.strategies.fedopt import FedYogi as FedYogi
from server.strategies.fedprox import FedProx as FedProx
from server.strategies.geometric_median import GeometricMedian as GeometricMedian
from server.strategies.krum import Krum as Krum
from server.strategies.krum import MultiKrum as MultiKrum
from server.strategies.local import Local as Local
from server.strategies.median import Median as Median
from server.strategies.scaffold import Scaffold as Scaffold
from server.strategies.trimmed_mean import TrimmedMean as TrimmedMean
