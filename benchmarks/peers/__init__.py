"""What a user would pick instead of HiPerformer, in the interface of a `Forecaster`'s model.

EqMotion and AgentFormer are written here from their papers; the others are neuralforecast's own
modules, which the extra `peers` brings.
"""

from benchmarks.peers import theirs
from benchmarks.peers.agentformer import AgentFormer
from benchmarks.peers.base import LinearStart, Peer
from benchmarks.peers.eqmotion import EqMotion
from benchmarks.peers.neural import SOFTS, FilledTSMixer, ITransformer, TimesNet, TSMixer

__all__ = [
    "SOFTS",
    "AgentFormer",
    "EqMotion",
    "FilledTSMixer",
    "ITransformer",
    "LinearStart",
    "Peer",
    "TSMixer",
    "TimesNet",
    "theirs",
]
