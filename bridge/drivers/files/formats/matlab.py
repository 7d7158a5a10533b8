"""MATLAB files: a tag a variable, or what `paths` finds in one. Up to version 7.2 by SciPy, 7.3 (HDF5) by h5py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import polars as pl

from bridge.drivers.files.formats.paths import PARTS, Path, Step, indexed, path_of, root_of, signal
from bridge.drivers.files.formats.signals import Held, Signals
from bridge.drivers.files.opening import ArchiveFile, opened, whole
from historian.errors import SourceError

_VERSION_7_3: Final = b"MATLAB 7.3"
_MOST_PER_BYTE: Final = 1032
"""Upper bound on samples per byte of a compressed file; see `opening`."""
Array = npt.NDArray[Any]


class MatlabFile:
    """The `SignalFile` in MATLAB; an address is a path, as in `paths`."""

    def __init__(self, file: ArchiveFile) -> None:
        self._file = file

    def held(self, addresses: Sequence[str]) -> Held:
        """See `SignalFile.held`."""
        names, longest = self._variables()
        absent = {address for address in addresses if root_of(address) not in names}
        return Held(names, absent, longest)

    def signals(self, addresses: Sequence[str]) -> Signals:
        """See `SignalFile.signals`."""
        if self._is_hdf5:
            import h5py

            with h5py.File(whole(self._file), "r") as file:
                return _followed(addresses, file, lambda path, address: _in_hdf5(file, path, address))
        from scipy.io import loadmat  # a third of the start of every command, for one format of several

        roots = sorted({root_of(address) for address in addresses})
        variables = loadmat(cast(Any, whole(self._file)), variable_names=roots)
        return _followed(addresses, variables, lambda path, address: _in_variables(variables, path, address))

    @property
    def _is_hdf5(self) -> bool:
        with opened(self._file) as stream:
            return stream.read(len(_VERSION_7_3)) == _VERSION_7_3

    def _variables(self) -> tuple[list[str], int]:
        """Return the names of the variables, and an upper bound on the number of elements of any array."""
        bound = self._file.most_bytes * _MOST_PER_BYTE
        if self._is_hdf5:
            import h5py

            with h5py.File(whole(self._file), "r") as file:
                return [name for name in file if not name.startswith("#")], bound
        from scipy.io import whosmat

        found = whosmat(cast(Any, whole(self._file)))
        plain = all(kind not in ("struct", "cell", "object", "opaque") for _, _, kind in found)
        sizes = [int(np.prod(shape)) for _, shape, _ in found]
        return [name for name, _, _ in found], max(sizes, default=0) if plain else bound


def _followed(addresses: Sequence[str], holder: Any, follow: Callable[[Path, str], Array]) -> Signals:
    values, problems = dict[str, pl.Series](), list[str]()
    for address in addresses:
        try:
            path = path_of(address)
            if path.root in holder:
                values[address] = signal(follow(path, address), address)
        except SourceError as error:
            problems.append(str(error))
    return Signals(values, problems=problems)


def _in_variables(variables: dict[str, Array], path: Path, address: str) -> Array:
    """Follow a path through what SciPy returns: structs as records, cells as objects, everything in two dimensions."""
    array, so_far = np.asarray(variables[path.root]), path.root
    for step in path.steps:
        if step.places:
            array = indexed(array, step, address)
        elif step.cell:
            array = _cell(array, step, so_far)
        elif step.field in PARTS and array.dtype.kind == "c":
            array = np.asarray(getattr(array, step.field))
        else:
            array = _field(array, step, so_far)
        so_far += f"{{{step.cell}}}" if step.cell else f".{step.field}" if step.field else ""
    return array


def _cell(array: Array, step: Step, name: str) -> Array:
    cells = array.ravel(order="F")
    if array.dtype.kind != "O" or array.dtype.names:
        raise SourceError(f"{name} is no cell array")
    if step.cell > len(cells):
        raise SourceError(f"{name} has {len(cells)} cells, so there is no {name}{{{step.cell}}}")
    return np.asarray(cells[step.cell - 1])


def _field(array: Array, step: Step, name: str) -> Array:
    if not array.dtype.names:
        raise SourceError(f"{name} is no struct, so it has no field {step.field}")
    if step.field not in array.dtype.names:
        raise SourceError(f"{name} has no field {step.field}; there are {', '.join(array.dtype.names)}")
    if array.size != 1:
        raise SourceError(f"{name} is an array of {array.size} structs; choose one, {name}[1].{step.field}")
    return np.asarray(array[step.field].item())


def _in_hdf5(file: Any, path: Path, address: str) -> Array:
    """Follow a path through groups (structs), references (cells) and data sets, whose dimensions MATLAB reverses."""
    node, chosen, so_far = file[path.root], 0, path.root
    for place, step in enumerate(path.steps):
        is_group = hasattr(node, "keys")
        if step.field and is_group:
            if step.field not in node:
                raise SourceError(f"{so_far} has no field {step.field}; there are {', '.join(node)}")
            node = _of_array(file, node[step.field], chosen, so_far)
            chosen = 0
        elif step.places and is_group:
            chosen = step.places[-1] or 0
        elif step.cell:
            node = _referred(file, node, step.cell, so_far)
        else:
            return _of_numbers(node, path.steps[place:], address, so_far)
        so_far += f"{{{step.cell}}}" if step.cell else f".{step.field}" if step.field else f"[{chosen}]"
    if hasattr(node, "keys"):
        raise SourceError(f"{address} is a struct; choose a field, {address}.{next(iter(node), '')} or the like")
    return _of_numbers(node, (), address, so_far)


def _of_array(file: Any, node: Any, chosen: int, name: str) -> Any:
    """Return the field of the chosen struct of an array of structs, in which fields are references."""
    if hasattr(node, "keys") or node.dtype.kind != "O" or node.attrs.get("MATLAB_class") is not None:
        return node
    if not chosen and node.size > 1:
        raise SourceError(f"{name} is an array of {node.size} structs; choose one, {name}[1]")
    return _referred(file, node, chosen or 1, name)


def _referred(file: Any, node: Any, number: int, name: str) -> Any:
    if hasattr(node, "keys") or node.dtype.kind != "O":
        raise SourceError(f"{name} is no cell array")
    if number > node.size:
        raise SourceError(f"{name} has {node.size} elements, so there is no number {number}")
    return file[node[()].ravel()[number - 1]]


def _of_numbers(node: Any, steps: Sequence[Step], address: str, name: str) -> Array:
    array: Array = np.asarray(node[()]).T
    if array.dtype.names == PARTS:
        array = array["real"] + 1j * array["imag"]
    for step in steps:
        if step.places:
            array = indexed(array, step, address)
        elif step.field in PARTS and array.dtype.kind == "c":
            array = np.asarray(getattr(array, step.field))
        else:
            raise SourceError(f"{name} is no struct, so it has no field {step.field}")
    return array
