"""Forecasts over several devices of one machine: a process for each, which takes every n-th batch.

The frame is read once, here, and the answer put together here. The batches are those of one
process, whose answer this is, to the bit where the number of threads makes no difference.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch

from hierforecast.errors import DataError

# Batches for each process at least: to start one takes seconds, in which so many are answered.
LEAST = 128
_WORK = "from hierforecast.inference.devices import work; work()"


def devices_of(trainer: Mapping[str, Any] | None) -> tuple[str, ...]:
    """What ``trainer["devices"]`` asks for, as torch calls devices; none where it is left out.

    Lightning's words for it: a number of devices, -1 for all, their numbers, or these as text. GPUs
    that this machine lacks are left out: the forecaster may have been saved on another.
    """
    asked, accelerator = ((trainer or {}).get(name) for name in ("devices", "accelerator"))
    with_gpu = accelerator != "cpu" and torch.cuda.is_available()
    cuda = torch.cuda.device_count() if with_gpu else 0
    if isinstance(asked, str) and asked.strip("0123456789, -") == "":
        numbers = [int(number) for number in asked.split(",") if number.strip()]
        asked = numbers if "," in asked else numbers[0]
    if isinstance(asked, int):
        asked = range(cuda if asked < 0 else asked)
    if asked is None or isinstance(asked, str):  # "auto"
        return ()
    if not cuda:
        return ("cpu",) * len(asked)
    return tuple(f"cuda:{number}" for number in asked if number < cuda)


def shared_out(forecasts: Any, ask: Callable[..., Any], *options: Any) -> list[Any]:
    """What `ask` says of forecasts, or of a share for each of their devices, in any order.

    One process answers where there is too little for several, where several run this script
    already, and where something belongs to the script itself, whose name the others do not know.

    Args:
        forecasts: of windows; see `inference.Forecasts`.
        ask: of a module: takes forecasts and the options, and goes through all batches.

    Raises:
        DataError: if a process ends without an answer; what it raises is raised here.
    """
    batches = -(-len(forecasts.windows) // forecasts.batch_size)
    count = min(len(forecasts.devices), batches // LEAST)
    if count < 2 or (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [ask(forecasts, *options)]
    model = deepcopy(forecasts.model).cpu()
    try:
        given = pickle.dumps((replace(forecasts, model=model, devices=()), ask, options))
    except Exception:  # each kind of object refuses in its own way
        given = b"__main__"
    if b"__main__" in given:
        return [ask(forecasts, *options)]
    threads = max(1, torch.get_num_threads() // count)
    answers = []
    for number, text in enumerate(_run(forecasts.devices[:count], threads, given)):
        if not text:
            raise DataError(
                f"process {number} of {count} ended without an answer, perhaps for want of memory: "
                "ask about fewer scenes at a time, or set trainer={'devices': 1}"
            )
        found = pickle.loads(text)
        if isinstance(found, Exception):
            raise found
        answers.append(found)
    return answers


def _run(devices: tuple[str, ...], threads: int, given: bytes) -> list[bytes]:
    """What each process writes."""
    processes = []
    for number, device in enumerate(devices):
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", _WORK, *map(str, (number, len(devices), device, threads))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        )
    with ThreadPoolExecutor(len(processes)) as pool:
        try:
            return [*pool.map(lambda process: process.communicate(given)[0], processes)]
        finally:
            for process in processes:
                process.kill()  # of no effect on those that have ended


def work() -> None:
    """Answer for a share: what a process of `shared_out` does."""
    number, count, device, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    # Before 2.6 torch warns of tensors that are unpickled.
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch")
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # what a model prints must not get into the answer
        out.write(answer(sys.stdin.buffer.read(), int(number), int(count), device))


def answer(given: bytes, number: int, count: int, device: str) -> bytes:
    """What a share of forecasts says, or the error that it raises."""
    try:
        forecasts, ask, options = pickle.loads(given)
        if device != "cpu":
            torch.cuda.set_device(device)
        model = forecasts.model.to(device)
        found = ask(replace(forecasts, model=model, share=(number, count)), *options)
    except Exception as error:  # raised where the verb was called
        found = error
    return pickle.dumps(found)
