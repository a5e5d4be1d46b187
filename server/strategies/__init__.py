"""Aggregation strategies, one file each; the maths are pure functions."""

from server.strategies.base import STRATEGIES as STRATEGIES
from server.strategies.base import Models as Models
from server.strategies.base import Strategy as Strategy
from server.strategies.fedavg import FedAvg as FedAvg
from server.strategies.local import Local as Local
