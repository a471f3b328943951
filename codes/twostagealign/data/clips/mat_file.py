"""Reading matrices of MATLAB v7.3 files (HDF5) that may come from anybody.

HDF5 can refer to other files in several ways, start plug-ins to decompress data, and describe arrays that are larger
than the file that they are in. What MATLAB writes does none of this, so it is refused before any data are read.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
from h5py import h5d, h5z

from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import open_regular

_FILE_BYTES = 2**32
_MAX_NUMBERS = 2**28
"""Largest number of entries of a matrix."""

_LAYOUTS = (h5d.COMPACT, h5d.CONTIGUOUS, h5d.CHUNKED)
_FILTERS = (h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32)
"""Filters that are part of HDF5; for others it loads plug-ins."""
_MAX_COMPRESSION = 1032
"""What DEFLATE can compress by at most."""


class MatFile:
    """An open MATLAB v7.3 file. Use it as a context manager.

    Args:
        path: the file.

    Raises:
        UserError: the file cannot be opened, or is not such a file. All methods raise it for what the file lacks.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        expected = "a MATLAB v7.3 file"
        with open_regular(path, _FILE_BYTES, expected) as file:
            start = file.read(20)
            self._size = file.seek(0, 2)
        if start.startswith(b"MATLAB 5.0"):
            raise UserError(f"{path}: found a MATLAB v5 file, expected v7.3 (in MATLAB: save with '-v7.3')")
        with self._errors("found no HDF5 file or a damaged one", f", expected {expected}"):
            self._file = h5py.File(path, "r")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def matrix(self, name: str) -> h5py.Dataset:
        """Find a matrix by its name, such as "meta/ColorMatrix2", without reading it. Its data are all in this file."""
        found: Any = self._file
        with self._errors(f"found no dataset {name}, expected one"):
            for part in name.split("/"):
                if not isinstance(found.get(part, h5py.HardLink(), getlink=True), h5py.HardLink):
                    raise UserError(f"{self.path}: {name}: is a link, expected data in the file itself")
                found = found[part]
        return self._checked(name, found)

    def referenced(self, name: str, index: int) -> h5py.Dataset:
        """Find the matrix that an entry of a matrix of object references refers to; see `matrix`.

        Args:
            name: of the matrix of references.
            index: of the entry, in the order in which they are stored.
        """
        references = self.matrix(name)
        if references.dtype != h5py.ref_dtype or references.size <= index:
            kind = "reference" if references.dtype == h5py.ref_dtype else references.dtype
            found = f"{references.size} entries of type {kind}"
            raise UserError(f"{self.path}: {name}: found {found}, expected at least {index + 1} references")
        name = f"{name}[{index}]"
        with self._errors(f"{name}: found a reference that leads nowhere, expected a matrix", reason=False):
            found = self._file[references[()].ravel()[index]]
            if found.name is None:  # deleted data may still be found at their address
                raise KeyError(name)
        return self._checked(name, found)

    def values(self, name: str, source: h5py.Dataset) -> np.ndarray:
        """Read the numbers of a dataset from `matrix` or `referenced`, in its shape and dtype; all are finite."""
        if source.dtype.kind not in "fiu":
            raise UserError(f"{self.path}: {name}: found entries of type {source.dtype}, expected numbers")
        with self._errors(f"{name}: cannot be read"):
            values = source[()]
        bad = values.size - int(np.isfinite(values).sum())
        if bad:
            raise UserError(f"{self.path}: {name}: found {bad} values that are NaN or infinite, expected numbers")
        return values

    def vector(self, name: str, source: h5py.Dataset, lengths: Sequence[int]) -> np.ndarray:
        """Read the numbers of a dataset with one row or one column of one of some lengths, (length,) float64."""
        if min(source.shape, default=0) != 1 or source.size not in lengths:
            expected = " or ".join(map(str, lengths))
            raise UserError(f"{self.path}: {name}: found an array of shape {source.shape}, expected {expected} numbers")
        return self.values(name, source).astype(np.float64).ravel()

    def _checked(self, name: str, found: Any) -> h5py.Dataset:
        """Refuse what is no matrix, data outside the file, and more data than the file can hold."""
        where = f"{self.path}: {name}"
        if not isinstance(found, h5py.Dataset):
            raise UserError(f"{where}: found a group, expected a matrix")
        with self._errors(f"{name}: damaged"):
            shape, size, item_size = found.shape, found.size, found.dtype.itemsize
            if shape is None or len(shape) != 2:
                raise UserError(f"{where}: found an array of shape {shape}, expected a matrix")
            if size > _MAX_NUMBERS or math.prod(found.chunks or ()) > _MAX_NUMBERS:
                rows, columns = shape
                raise UserError(f"{where}: found a matrix of {rows}x{columns}, expected at most {_MAX_NUMBERS} numbers")
            plan = found.id.get_create_plist()
            if plan.get_layout() not in _LAYOUTS or plan.get_external_count():
                raise UserError(f"{where}: its data are in other files, expected data in the file itself")
            filters = [plan.get_filter(index)[0] for index in range(plan.get_nfilters())]
            if not set(filters) <= set(_FILTERS):
                raise UserError(
                    f"{where}: found a filter other than deflate, shuffle and Fletcher-32; store it without"
                )
            stored, limit = found.id.get_storage_size(), _MAX_COMPRESSION if filters else 1
            needed = math.prod(
                -(-side // chunk) for side, chunk in zip(shape, found.chunks or shape, strict=True) if side
            )
            incomplete = found.chunks is not None and found.id.get_num_chunks() != needed
            if incomplete or stored > self._size or size * item_size > limit * stored:
                raise UserError(f"{where}: the file holds only a part of its {shape[0]}x{shape[1]} values")
        return found

    @contextmanager
    def _errors(self, problem: str, expected: str = "", reason: bool = True) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # h5py raises many kinds of exception on damaged files
            why = f" ({' '.join(str(error).strip(chr(39) + chr(34)).split())})" if reason else ""
            raise UserError(f"{self.path}: {problem}{why}{expected}") from error
