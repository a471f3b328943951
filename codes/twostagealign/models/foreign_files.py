"""What a file is that was taken for weights, for the error message."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

_MAGIC = {
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"\x89HDF": "an HDF5 file",
    b"\x1f\x8b": "compressed by gzip; unpack it first",
    b"<": "a web page instead of the file; download it again",
    b"version https://git-lfs": "a Git LFS pointer; fetch the file by `git lfs pull`",
}
_PICKLED = re.compile(r"(?:Unsupported global: GLOBAL|Unsupported class) (\w+(?:\.\w+)+)")


def describe_foreign(path: Path, error: Exception) -> str:
    """Describe a file that cannot be read as weights.

    Args:
        path: a regular file.
        error: raised by the attempt to read it.

    Returns:
        What the file is, if it can be told, and what to do.
    """
    with path.open("rb") as file:
        begin = file.read(64)
        size = path.stat().st_size
    if pickled := _PICKLED.search(str(error)):
        return f"holds Python objects ({pickled[1][:60]}); save the state dict alone with torch.save"
    if begin[8:9] == b"{" and int.from_bytes(begin[:8], "little") <= size and path.suffix != ".safetensors":
        return "a safetensors file; rename it to end in .safetensors"
    if zipfile.is_zipfile(path):
        return _describe_zip(path)
    for magic, kind in _MAGIC.items():
        if begin.lstrip().startswith(magic):
            return kind
    return f"damaged or of another kind ({size} bytes)" if size else "an empty file"


def _describe_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # a damaged directory makes zipfile raise many kinds of exception
        return f"damaged ({path.stat().st_size} bytes)"
    if any(name.endswith("/constants.pkl") for name in names):
        return "a TorchScript program; save its state dict instead"
    if not any(name.endswith("/data.pkl") for name in names):
        return "a zip archive of something else"
    if path.suffix == ".safetensors":
        return "a file of torch.save; rename it to end in .pth"
    return f"damaged ({path.stat().st_size} bytes)"
