"""scripts/verify_golden.py agrees with the reference numbers, and would disagree with any other."""

import json
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

DATA = Path(__file__).parent / "data"
SCRIPT = Path(__file__).parents[1] / "scripts" / "verify_golden.py"
FILES = {
    "block_matching.npz",
    "downsampler.npz",
    "frame_windows.json",
    "gcpnet_nf8.npz",
    "isp.npz",
    "losses.npz",
    "lr_schedule.npz",
    "metrics.npz",
    "network_nf8.npz",
    "network_nf8_grad.npz",
    "released_checkpoint_keys.json",
    "test_noise.npz",
}
WITHOUT_EFFECT = {("downsampler.npz", "state/simple_block.6.bias")}
"""The instance norm that follows removes it."""


@pytest.fixture(scope="module")
def script() -> dict[str, object]:
    return runpy.run_path(str(SCRIPT), run_name="verify_golden")


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[Path], tuple]:
    def run(folder: Path) -> tuple:
        monkeypatch.setattr(sys, "argv", ["verify_golden.py", str(folder)])
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        out, err = capsys.readouterr()
        return caught.value.code or 0, out, err

    return run


def arrays_of(name: str) -> dict[str, np.ndarray]:
    with np.load(DATA / name) as file:
        return {key: file[key] for key in file.files}


def disturbed(array: np.ndarray) -> np.ndarray:
    """A tenth of the largest value up or down, at random; integers one more."""
    if array.dtype.kind != "f":
        return array + 1
    signs = np.random.default_rng(0).choice([-1, 1], array.shape)
    # Some biases are so small that a tenth of them is less than the tolerance.
    return (array + signs * max(0.1 * np.abs(array).max(), 0.01)).astype(array.dtype)


def unnoticed(verify: Callable, name: str, folder: Path, every: int = 1) -> list[str]:
    """Arrays of a file, one of so many, that can be changed without the file being found to disagree."""
    if name == "network_nf8_grad.npz":
        shutil.copy(DATA / "network_nf8.npz", folder)
    arrays, agreeing = arrays_of(name), []
    assert arrays
    for key in list(arrays)[::every]:
        np.savez(folder / name, **(arrays | {key: disturbed(arrays[key])}))
        if verify(folder / name)[0] <= 1e-4 and (name, key) not in WITHOUT_EFFECT:
            agreeing.append(key)
    return agreeing


def test_all_files_agree(main) -> None:
    code, out, err = main(DATA)
    verdicts = {line.split()[0]: line.split()[-1] for line in out.splitlines()[1:]}
    assert {name: verdicts.get(name) for name in FILES} == dict.fromkeys(FILES, "agrees")
    assert "not covered" not in out
    assert (code, err) == (0, "")


@pytest.mark.parametrize(
    ("name", "every"),
    [
        ("block_matching.npz", 4),
        ("downsampler.npz", 1),
        ("gcpnet_nf8.npz", 19),
        ("isp.npz", 1),
        ("losses.npz", 1),
        ("lr_schedule.npz", 1),
        ("metrics.npz", 1),
        ("network_nf8.npz", 19),
        ("network_nf8_grad.npz", 25),
        ("test_noise.npz", 1),
    ],
)
def test_any_other_number_disagrees(script, tmp_path, name: str, every: int) -> None:
    assert unnoticed(script["verify"], name, tmp_path, every) == []


@pytest.mark.parametrize("key", ["features", "frames", "origins", "positions", "true_shift", "scale", "size", "radius"])
def test_any_other_block_matching_disagrees(script, tmp_path, key: str) -> None:
    arrays = arrays_of("block_matching.npz")
    np.savez(tmp_path / "block_matching.npz", **(arrays | {key: disturbed(arrays[key])}))
    assert script["verify"](tmp_path / "block_matching.npz")[0] > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(name for name in FILES if name.endswith(".npz")))
def test_any_other_number_of_all_disagrees(script, tmp_path, name: str) -> None:
    assert unnoticed(script["verify"], name, tmp_path) == []


@pytest.mark.parametrize("name", ["isp.npz", "lr_schedule.npz", "metrics.npz", "losses.npz"])
def test_arrays_that_lack_or_are_too_many_disagree(script, tmp_path, name: str) -> None:
    arrays = arrays_of(name)
    for key in arrays:
        np.savez(tmp_path / name, **{other: array for other, array in arrays.items() if other != key})
        assert script["verify"](tmp_path / name)[0] == float("inf")
    np.savez(tmp_path / name, **arrays, more=np.zeros(1))
    assert script["verify"](tmp_path / name) == (float("inf"), "arrays that no check uses")


def test_values_that_are_no_numbers_disagree(script, tmp_path) -> None:
    arrays = arrays_of("losses.npz")
    for key in arrays:
        np.savez(tmp_path / "losses.npz", **(arrays | {key: np.full_like(arrays[key], np.nan)}))
        assert script["verify"](tmp_path / "losses.npz")[0] == float("inf")


def test_other_frame_windows_disagree(script, tmp_path) -> None:
    entries = json.loads((DATA / "frame_windows.json").read_text())
    path = tmp_path / "frame_windows.json"
    for entry in entries[::20]:
        entry["indices"][0] += 1
        path.write_text(json.dumps(entries))
        assert script["verify"](path)[0] == float("inf")
        entry["indices"][0] -= 1
    path.write_text(json.dumps([entry for entry in entries if entry["padding"] != "circle"]))
    assert script["verify"](path) == (float("inf"), "padding modes")


def test_other_checkpoint_names_or_shapes_disagree(script, tmp_path) -> None:
    content = json.loads((DATA / "released_checkpoint_keys.json").read_text())
    path = tmp_path / "released_checkpoint_keys.json"

    def disagree(file: str) -> bool:
        path.write_text(json.dumps(content))
        return script["verify"](path) == (float("inf"), file)

    for file in ("600000_G.pth", "600000_DSNet.pth", "GCP-Net 600000_G.pth"):
        entries = content[file] = dict(content[file])
        name, shape = next(iter(entries.items()))
        entries[name] = [size + 1 for size in shape]
        assert disagree(file)
        del entries[name]
        assert disagree(file)
        entries[name], entries["more.weight"] = shape, [1]
        assert disagree(file)
        del entries["more.weight"]


def test_a_file_that_disagrees_fails_and_is_named_with_the_entry(main, tmp_path) -> None:
    arrays = arrays_of("isp.npz")
    np.savez(tmp_path / "isp.npz", **(arrays | {"mosaic": disturbed(arrays["mosaic"])}))
    shutil.copy(DATA / "metrics.npz", tmp_path)
    code, out, _ = main(tmp_path)
    assert code == 1
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert lines["isp.npz"].endswith("DISAGREES in mosaic")
    assert lines["metrics.npz"].endswith("agrees")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"text"])
def test_a_damaged_file_fails(main, tmp_path, content: bytes) -> None:
    for name in ("isp.npz", "frame_windows.json"):
        (tmp_path / name).write_bytes(content)
    code, out, err = main(tmp_path)
    assert code == 1
    assert out.count("DISAGREES") == 2
    assert err == ""


def test_a_folder_without_reference_numbers_fails(main, tmp_path) -> None:
    code, out, _ = main(tmp_path)
    assert code == 1
    assert f"{tmp_path}: no known file of reference numbers" in out


def test_unknown_files_are_listed_as_not_covered(main, tmp_path) -> None:
    np.savez(tmp_path / "other.npz", a=np.zeros(1))
    assert main(tmp_path)[0] == 1  # they alone prove nothing
    shutil.copy(DATA / "metrics.npz", tmp_path)
    (tmp_path / "README.md").touch()
    code, out, _ = main(tmp_path)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines() if line.endswith("not covered")] == ["other.npz"]
    assert "README" not in out


def test_mistakes(main, tmp_path) -> None:
    assert main(tmp_path / "none") == (
        2,
        "",
        f"error: {tmp_path / 'none'}: no such folder; give a folder with reference numbers\n",
    )
    shutil.copy(DATA / "network_nf8_grad.npz", tmp_path)
    code, _, err = main(tmp_path)
    assert code == 2
    assert err.startswith(
        f"error: {tmp_path / 'network_nf8.npz'}: no such file; network_nf8_grad.npz needs its weights"
    )
