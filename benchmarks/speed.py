"""Speed of fit, predict, attention and the SA3 block, each against what it is measured by.

Nearly every number is a ratio of arms run in turn on one thread; see `benchmarks.timing`.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from benchmarks._speed_blocks import PATIENCE, block, growth, missing, rivals
from benchmarks._speed_devices import devices
from benchmarks._speed_fitting import fit, predict, step
from benchmarks._speed_joint import STEPS, joint
from benchmarks._speed_kernels import MASKS, attention, small
from benchmarks._speed_memory import frames, memory
from benchmarks._speed_parts import parts
from benchmarks._speed_start import imports, start
from benchmarks.experiment import one_table

# Name -> its title, what to measure, and how to read it.
TABLES: dict[str, tuple[str, Callable[..., pd.DataFrame], str]] = {
    "block": (
        "An SA3 block against a transformer layer",
        block,
        "`nn.TransformerEncoderLayer` (pre-norm, GELU, no dropout; forward by its path for "
        "inference) attends along time only, on the same tokens; by arithmetic alone SA3 costs 1.4 "
        "times as much. The peak is a float32 product of matrices of side 1,024. NBA: 64 scenes x "
        "11 series x 10 tokens; 500 stocks in 11 uneven sectors x 12 tokens.",
    ),
    "rivals": (
        "Other layers on the tokens of an SA3 block",
        rivals,
        "Time relative to the SA3 block, forward / forward + backward: above 1, SA3 is that much "
        "faster. All are `nn.TransformerEncoderLayer` of width 128 with 8 heads and differ in what "
        "they attend over: each series' own steps; every series and step of the scene at once; one "
        "token a series. The last keeps N tokens where the others keep N x T, so it is a cheaper "
        "layer and another model, not a faster way to the same answer. Of slow arms as many rounds "
        f"as fit into {PATIENCE:.0f} s, one at least.",
    ),
    "growth": (
        "Growth with the number of series",
        growth,
        "Groups of 16 series in one scene, 8 tokens each, width 128, 8 heads; time relative to the "
        "first row. Full attention is over all series and steps. The exponent is from the first "
        "row to the last that was run.",
    ),
    "missing": (
        "30 % of the series missing",
        missing,
        "Time of an SA3 block, width 128, 8 heads, relative to the same scenes with all series "
        "present. Packed: as here, missing series are not there. Masked: they are kept as tokens "
        "that are masked as keys.",
    ),
    "memory": (
        "Peak memory of a block",
        memory,
        "Growth of the resident set in MB, forward + backward, each arm in a process of its own; "
        "width 128, 8 heads. Full attention runs through torch's fused kernel, which never holds "
        "all scores: written out, those of 500 series x 60 tokens would take 29 GB.",
    ),
    "devices": (
        "Compiled, in bfloat16, on a GPU",
        devices,
        "Time of an SA3 block at NBA size, width 128, 8 heads, relative to float32 on one CPU "
        "thread; compiling by the wall clock, both passes together. Each new pattern of group "
        "sizes is compiled anew. Processors without bfloat16 units (`avx512_bf16`, `amx_bf16`) "
        "emulate it.",
    ),
    "step": (
        "Where a training step goes",
        step,
        "Shares of one step's time: HiPerformer of width 128 and depth 2, 64 scenes of 11 series, "
        "40 -> 10, simulated basketball. The likelihood is worked out in float64.",
    ),
    "attention": (
        "Attention within groups against an N x N mask",
        attention,
        "5,000 series in 11 uneven groups of 30 to 840, 8 tokens each, width 128, 8 heads; the "
        "same fused kernel on both sides, and equal results. By arithmetic alone 8.5 times fewer "
        "operations in the softmax attention, 6.2 times fewer with the linear maps. "
        f"Medians of {MASKS} rounds.",
    ),
    "small": (
        "Attention in small sets",
        small,
        "Time relative to torch's fused kernel, forward / forward + backward, at 7,040 tokens of "
        "width 128 with 8 heads. `attend` takes products up to 7 members, matmuls up to 32.",
    ),
    "fit": (
        "Fit against a bare loop",
        fit,
        "Windows per second of `Forecaster.fit` as a share of a loop of forward, backward and "
        "optimizer on ready tensors: the same model, the same batches, blocks of steps in turn. "
        "Simulated basketball, 11 series, 40 + 10 steps, batches of 64, series dropout 0.1, two "
        "SA3 blocks. The share of all blocks together holds the validation and the checkpoints "
        "that fall into them; "
        "reading the frame and the linear start stand before the first block and are not in it.",
    ),
    "predict": (
        "Predict against a bare forward pass",
        predict,
        "Windows per second of `Forecaster.predict`, frame to frame, as a share of the model's "
        "forward pass on ready batches of 64 scenes.",
    ),
    "imports": (
        "What it takes to begin",
        imports,
        "Processor time of a fresh interpreter, relative to one that imports torch and nothing "
        "else; compiled files are warm.",
    ),
    "start": (
        "From fit to the first step",
        start,
        "Processor time of one thread from the call to the end of the first step: 7 series, 50,000 "
        "rows in all, 336 -> 96 steps, width 128. Lightning is imported already, which takes about "
        "twice as long as torch does and happens once a process. A product is one of float32 "
        "matrices of side 1,024.",
    ),
    "joint": (
        "What a joint distribution of 5,000 series is asked",
        joint,
        f"One scene of 150 uneven groups, {STEPS} steps, by heads with random weights. All but the "
        "first column is time relative to `log_prob`, no gradients: given the whole paths of 5 % "
        "of the series or the first half of everybody's, the distribution of all other cells; the "
        "150 totals of the groups, their means and one joint draw. Quantiles of totals of demand, "
        "returns and heavy-tailed rows are those of 2,000 draws.",
    ),
    "parts": (
        "Parts by themselves",
        parts,
        "Processor time of one thread. A product is one of float32 matrices of side 1,024, run in "
        "turn with the parts: its number says more than the seconds where others use the machine.",
    ),
}

EXPERIMENTS = {
    f"speed-{name}": one_table(
        f"speed-{name}",
        "speed",
        title,
        measure,
        note,
        **({} if name == "memory" else {"rounds": 15}),
    )
    for name, (title, measure, note) in TABLES.items()
}
EXPERIMENTS["frame"] = one_table(
    "frame",
    "speed",
    "From a long frame to arrays",
    frames,
    "{rows:,} rows of scene, ds, unique_id, team, x, y, shuffled. The ratio is the peak of memory "
    "above what the process held with the frame in it, over the frame's own size.",
    rows=10_000_000,
    libraries=("pandas", "pandas object", "polars", "pyarrow"),
)
