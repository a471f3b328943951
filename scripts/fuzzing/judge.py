"""Whether a program took an input as it should: accepted with finite results, or refused in one line."""

import contextlib
import json
import re
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.torch import load_file

from fuzzing.child import Run

_PROGRESS = re.compile(r"\d+(%\||(tile|it|burst|frame) \[)")
_FOREIGN = re.compile(
    r"Traceback|Exception (ignored|in )|Warning:|^\[ ?(WARN|ERROR|INFO)|TIFF|libpng|Corrupt JPEG|LibRaw|terminate"
)


def judge(must_refuse: bool, run: Run, folder: Path) -> str:
    """What is wrong with how a program took an input; empty if nothing is.

    Args:
        must_refuse: whether the program must not accept the input.
        run: how it ended.
        folder: of the input and of what the program wrote.
    """
    lines = [line.strip() for text in run.stderr.splitlines() for line in text.split("\r")]
    lines = [line for line in lines if line and not _PROGRESS.search(line)]
    errors = [line for line in lines if line.startswith("error: ") or re.match(r"\w+\.py: error: ", line)]
    foreign = [line for line in lines if _FOREIGN.search(line) and line not in errors]
    if run.offences:
        return run.offences[0]
    if run.timed_out:
        return "took too long"
    if run.status < 0:
        return f"ended by signal {-run.status}"
    if run.status not in (0, 2):
        return f"exit code {run.status}: {(lines or [''])[-1][:200]}"
    if foreign:
        return f"printed: {foreign[0][:200]}"
    if run.status == 2:
        return _wrong_refusal(lines, errors)
    if errors:
        return f"exit code 0, but: {errors[0][:200]}"
    if must_refuse:
        return "accepted, but had to be refused"
    return next((problem for path in sorted(folder.rglob("*")) if (problem := _wrong_output(path, folder))), "")


def _wrong_refusal(lines: list[str], errors: list[str]) -> str:
    if len(errors) != 1:
        return f"refused in {len(errors)} lines: {errors[:2]}"
    if lines[-1] != errors[0]:
        return f"refused, and then said: {lines[-1][:200]}"
    if re.search(r"\b(\w+Error|NoneType|object at 0x)\b", errors[0]) or len(errors[0]) > 1000:
        return f"refused in words that are not for users: {errors[0][:200]}"
    if re.search(r"[\x00-\x08\x0e-\x1f\x7f]", errors[0]):
        return f"refused with control characters: {errors[0][:200]!r}"
    return ""


def _wrong_output(path: Path, folder: Path) -> str:
    name = path.relative_to(folder)
    if path.name.endswith(".part"):
        return f"left {name}"
    outputs = ("out", "results", "runs")
    if name.parts[0] not in outputs or not path.is_file():
        return ""
    with contextlib.suppress(FileNotFoundError):
        if path.suffix == ".json":
            try:
                json.loads(path.read_text(), parse_constant=lambda text: int(text))
            except ValueError as error:
                return f"{name}: no JSON: {error}"
        if path.suffix == ".png":
            pixels = np.asarray(Image.open(path))
            if pixels.min() == pixels.max():
                return f"{name}: a picture of one colour"
        if path.suffix == ".safetensors":
            bad = [key for key, tensor in load_file(path).items() if not tensor.isfinite().all()]
            if bad:
                return f"{name}: not finite: {bad[0]}"
    return ""
