"""Speed of fit, predict, attention and the SA3 block, each against what it is measured by.

    python -m benchmarks.speed [block rivals growth missing ...] [--rounds 15]

Nearly every number is a ratio of arms run in turn on one thread; see `benchmarks.timing`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NamedTuple

import pandas as pd
import torch

from benchmarks._fitting import fit, predict
from benchmarks._results import write_section
from benchmarks._speed_blocks import PATIENCE, block, growth, missing, rivals
from benchmarks._speed_devices import devices
from benchmarks._speed_kernels import MASKS, attention, small
from benchmarks._speed_memory import memory
from benchmarks._speed_parts import parts
from benchmarks._speed_step import step
from benchmarks.timing import steady


class Table(NamedTuple):
    """What to measure, and how to read it."""

    title: str
    measure: Callable[[int], pd.DataFrame]
    note: str


TABLES = {
    "block": Table(
        "An SA3 block against a transformer layer",
        block,
        "`nn.TransformerEncoderLayer` (pre-norm, GELU, no dropout; forward by its path for "
        "inference) attends along time only, on the same tokens; by arithmetic alone SA3 costs 1.4 "
        "times as much. The peak is a float32 product of matrices of side 1,024. NBA: 64 scenes x "
        "11 series x 10 tokens; 500 stocks in 11 uneven sectors x 12 tokens.",
    ),
    "rivals": Table(
        "Other layers on the tokens of an SA3 block",
        rivals,
        "Time relative to the SA3 block, forward / forward + backward: above 1, SA3 is that much "
        "faster. All are `nn.TransformerEncoderLayer` of width 128 with 8 heads and differ in what "
        "they attend over: each series' own steps; every series and step of the scene at once; one "
        "token a series. The last keeps N tokens where the others keep N x T, so it is a cheaper "
        "layer and another model, not a faster way to the same answer. Of slow arms as many rounds "
        f"as fit into {PATIENCE:.0f} s, one at least.",
    ),
    "growth": Table(
        "Growth with the number of series",
        growth,
        "Groups of 16 series in one scene, 8 tokens each, width 128, 8 heads; time relative to the "
        "first row. Full attention is over all series and steps. The exponent is from the first "
        "row to the last that was run.",
    ),
    "missing": Table(
        "30 % of the series missing",
        missing,
        "Time of an SA3 block, width 128, 8 heads, relative to the same scenes with all series "
        "present. Packed: as here, missing series are not there. Masked: they are kept as tokens "
        "that are nobody's key.",
    ),
    "memory": Table(
        "Peak memory of a block",
        memory,
        "Growth of the resident set in MB, forward + backward, each arm in a process of its own; "
        "width 128, 8 heads. Full attention runs through torch's fused kernel, which never holds "
        "all scores: written out, those of 500 series x 60 tokens would take 29 GB.",
    ),
    "devices": Table(
        "Compiled, in bfloat16, on a GPU",
        devices,
        "Time of an SA3 block at NBA size, width 128, 8 heads, relative to float32 on one CPU "
        "thread; compiling by the wall clock, both passes together. Each new pattern of group "
        "sizes is compiled anew. Processors without bfloat16 units (`avx512_bf16`, `amx_bf16`) "
        "emulate it.",
    ),
    "step": Table(
        "Where a training step goes",
        step,
        "Shares of one step's time: HiPerformer of width 128 and depth 2, 64 scenes of 11 series, "
        "40 -> 10, simulated basketball. The likelihood is worked out in float64.",
    ),
    "attention": Table(
        "Attention within groups against an N x N mask",
        attention,
        "5,000 series in 11 uneven groups of 30 to 840, 8 tokens each, width 128, 8 heads; the "
        "same fused kernel on both sides, and equal results. By arithmetic alone 8.5 times fewer "
        "operations in the softmax attention, 6.2 times fewer with the linear maps. "
        f"Medians of {MASKS} rounds.",
    ),
    "small": Table(
        "Attention in small sets",
        small,
        "Time relative to torch's fused kernel, forward / forward + backward, at 7,040 tokens of "
        "width 128 with 8 heads. `attend` takes products up to 7 members, matmuls up to 24.",
    ),
    "fit": Table(
        "Fit against a bare loop",
        fit,
        "Windows per second of `Forecaster.fit` as a share of a loop of forward, backward and "
        "optimiser on ready tensors: the same model, the same batches, blocks of steps in turn. "
        "Simulated basketball, 11 series, 40 + 10 steps, batches of 64, series dropout 0.1, two "
        "SA3 blocks. The share of all blocks together holds the validation and the checkpoints "
        "that fall into them; "
        "reading the frame and the linear start stand before the first block and are not in it.",
    ),
    "predict": Table(
        "Predict against a bare forward pass",
        predict,
        "Windows per second of `Forecaster.predict`, frame to frame, as a share of the model's "
        "forward pass on ready batches of 64 scenes.",
    ),
    "parts": Table(
        "Parts by themselves",
        parts,
        "Processor time of one thread. A product is one of float32 matrices of side 1,024, run in "
        "turn with the parts: its number says more than the seconds where others use the machine.",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", metavar="table", help=f"some of {', '.join(TABLES)}")
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    unknown = set(given.tables) - set(TABLES)
    if unknown:
        parser.error(f"no such table: {', '.join(sorted(unknown))}; there are {', '.join(TABLES)}")
    steady()
    torch.manual_seed(0)
    for name in given.tables or TABLES:
        title, measure, note = TABLES[name]
        table = measure(given.rounds)
        print(f"\n{title}\n{table.to_string()}", flush=True)
        write_section(f"speed-{name}", title, table, note)


if __name__ == "__main__":
    main()
