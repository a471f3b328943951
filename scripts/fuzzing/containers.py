"""Damage to weights and .mat files: inside the containers, which stay readable."""

import json
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from fuzzing.mutators import VALUES, mutate_bytes, mutate_tree, replace_file


def mutate_safetensors(rng: random.Random, data: bytes) -> tuple[bytes, bool]:
    """Damage a safetensors file.

    Returns:
        The file, and whether it must be refused.
    """
    size = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + size]), bytearray(data[8 + size :])
    match rng.randrange(5):
        case 0:
            return mutate_bytes(rng, data), False
        case 1:
            at = 4 * rng.randrange(len(body) // 4)
            body[at : at + 4] = rng.choice((b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f", b"\x00\x00\x80\xff"))
            refuse = True
        case 2:
            text = header["__metadata__"]
            key = rng.choice(list(text))
            value = rng.choice(("", "[]", "{", "1", "null", "NaN", "[" * 100_000, "9" * 5000))
            if rng.random() < 0.8:
                value = json.dumps(mutate_tree(rng, json.loads(text[key]), lambda: rng.choice(VALUES)))
            text[key] = value
            refuse = False
        case 3:
            entry = header[rng.choice(list(header))]
            entry["dtype"] = rng.choice(("F64", "F16", "BF16", "I32", "U8", "BOOL", "F8_E4M3", "C64", "U64"))
            refuse = False
        case _:
            header = mutate_tree(rng, header, lambda: rng.choice(VALUES))
            refuse = False
    text = json.dumps(header).encode(errors="surrogatepass")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + bytes(body), refuse


class _Runs:
    """Writes a file when it is unpickled by an unpickler that is not careful."""

    def __reduce__(self) -> tuple:
        return os.system, ("touch /tmp/was-run",)


def _odd_value(rng: random.Random) -> Any:
    tensors = (
        torch.tensor(1.0),
        torch.zeros(0),
        torch.full((3,), torch.nan),
        torch.ones(2, 3, dtype=torch.int64),
        torch.ones(2, dtype=torch.complex64),
        torch.ones(2, dtype=torch.bool),
        torch.ones(4, dtype=torch.bfloat16),
        torch.ones(4, dtype=torch.float8_e4m3fn),
        torch.eye(3).to_sparse(),
        torch.ones(1).expand(2**40),
        torch.nn.Parameter(torch.ones(2)),
    )
    return rng.choice(tensors) if rng.random() < 0.3 else rng.choice(VALUES)


def mutate_torch(rng: random.Random, path: Path) -> bool:
    """Damage a file of `torch.save` in place.

    Returns:
        Whether it must be refused.
    """
    if rng.random() < 0.02:
        replace_file(rng, path) if path.suffix == ".pth" else path.write_bytes(b"")
        return True
    if rng.random() < 0.15:
        path.write_bytes(mutate_bytes(rng, path.read_bytes()))
        return False
    state = torch.load(path, weights_only=True)
    refuse = False
    match rng.randrange(5):
        case 0:  # one number of one tensor
            tensors = [value for value in _tensors(state) if value.is_floating_point() and value.numel()]
            tensor = rng.choice(tensors).view(-1)
            tensor[rng.randrange(len(tensor))] = rng.choice((torch.nan, torch.inf, -torch.inf))
            refuse = True
        case 1 if rng.random() < 0.2:
            state = rng.choice(([state], {"x": state, "y": _Runs()}, _Runs(), torch.nn.Linear(2, 2)))
            refuse = True
        case _:
            state = mutate_tree(rng, state, lambda: _odd_value(rng))
    torch.save(state, path, pickle_protocol=rng.choice((2, 2, 2, 4)))
    return refuse


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    entries = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [tensor for entry in entries for tensor in _tensors(entry)]


def mutate_hdf5(rng: random.Random, path: Path, names: Sequence[str], secret: Path) -> bool:
    """Damage a .mat file in place.

    Args:
        rng: draws the damage.
        path: the file.
        names: of what may be damaged, all of which the programs need.
        secret: another sound .mat file, which `path` may then refer to.

    Returns:
        Whether it must be refused.
    """
    with h5py.File(path, "r+") as file:
        name = rng.choice(names)
        what = file[name]
        values = what[()] if isinstance(what, h5py.Dataset) else np.zeros((1, 1))
        numbers = values if values.dtype.kind == "f" else np.zeros((1, 9))
        del file[name]
        match rng.randrange(12):
            case 0:
                return True
            case 1:
                file[name] = h5py.ExternalLink(str(secret), f"/{name}")
                return True
            case 2:
                file[name] = h5py.SoftLink(rng.choice(("/im", f"/{name}", "/nowhere", "/meta")))
            case 3:
                file.create_dataset(name, numbers.shape, "f8", external=[(str(secret), 600, numbers.nbytes)])
                return True
            case 4:
                layout = h5py.VirtualLayout(numbers.shape, "f8")
                layout[...] = h5py.VirtualSource(str(secret), f"/{name}", numbers.shape)
                file.create_virtual_dataset(name, layout)
                return True
            case 5:
                shape = rng.choice(((10**6, 10**6), (2**40, 1), (1, 2**58), (10**5, 10**5)))
                file.create_dataset(
                    name,
                    shape,
                    "f8",
                    chunks=(1, 1) if rng.random() < 0.2 else (1000, 1000) if min(shape) > 999 else None,
                )
                return True
            case 6:
                changed = numbers.copy()
                changed.flat[rng.randrange(changed.size)] = rng.choice(
                    (np.nan, np.inf, -np.inf, 1e308, 1e-320, -1, 0, 2)
                )
                file[name] = changed
            case 7:
                kind = rng.choice(
                    ("f4", "f2", "i1", "u8", "c16", "S5", "V8", "?", ">f8", h5py.string_dtype(), [("a", "f8")])
                )
                try:
                    file[name] = numbers.astype(kind)
                except (ValueError, TypeError):
                    file.create_dataset(name, numbers.shape, kind)
            case 8:
                file[name] = rng.choice(
                    (numbers.T, numbers[:0], numbers[..., None], numbers.ravel(), np.float64(1), numbers[:1, :1])
                )
            case 9:
                file.create_dataset(
                    name, data=numbers, chunks=True, compression=rng.choice(("gzip", "lzf")), shuffle=True
                )
            case 10:
                file.create_dataset(name, data=h5py.Empty("f8"))
            case 11:
                file.create_group(name)
    if rng.random() < 0.3:
        path.write_bytes(mutate_bytes(rng, path.read_bytes()))
    return False
