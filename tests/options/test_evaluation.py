from pathlib import Path

import pytest

from twostagealign.cli.evaluation import parse_noise, read_request
from twostagealign.data import NoiseLevel
from twostagealign.isp import PROTOCOL_LEVELS
from twostagealign.options.evaluation import load_evaluation_options
from twostagealign.runtime.errors import UserError

REPOSITORY = Path(__file__).parents[2]
HOSTILE = Path(__file__).parents[1] / "data" / "hostile"
FILES = sorted((REPOSITORY / "options" / "test").glob("*.yml"))


def test_option_files_say_what_the_protocol_says() -> None:
    found = {path.stem: load_evaluation_options(path) for path in FILES}
    sizes = {name: (o.tiling.patch, o.tiling.halo, o.tiling.search_window) for name, o in found.items()}
    assert sizes == {"REDS4": (64, 4, 48), "SC_burst": (128, 16, 128), "Videezy4K": (128, 16, 128)}
    assert {options.frames for options in found.values()} == {5}
    assert found["REDS4"].clips == found["REDS4"].paper.clips == ["000", "011", "015", "020"]
    assert found["REDS4"].paper.psnr == {"high": 36.06, "low": 38.13}
    assert found["SC_burst"].noise is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("frames=4", "frames: found 4, expected an odd number: the reference is in the middle"),
        ("name=a/b", r"name: found 'a/b', expected letters, digits, '\.', '_', '-', a letter or digit first"),
        ("tiling:ptch=4", r"tiling\.ptch: unknown key, .* \(did you mean 'patch'\?\)"),
        ("dataset={type: ClipSett}", r"dataset\.type: found 'ClipSett', expected one of ClipSet, SCBurst"),
        ("dataset={type: ClipSet, folder: x}", r"dataset\.folder: set by the program"),
        ("paper:psnr:high=best", r"paper\.psnr\.high: found 'best', expected a number"),
        ("save_images=-1", "save_images: found -1, expected at least 0"),
    ],
)
def test_wrong_options(override, message) -> None:
    with pytest.raises(UserError, match=message):
        load_evaluation_options(REPOSITORY / "options/test/REDS4.yml", [override])


def test_a_misspelt_key_of_a_section_that_may_be_missing() -> None:
    with pytest.raises(UserError, match=r"paper\.framse: unknown key, expected one of psnr, clips, frames \(did you"):
        load_evaluation_options(HOSTILE / "paper_typo.yml")


def test_noise() -> None:
    high, low = (NoiseLevel(name, *PROTOCOL_LEVELS[name]) for name in ("high", "low"))
    assert parse_noise("high", "--noise") == [high]
    assert parse_noise("both", "--noise") == [high, low]
    assert parse_noise("1e-3, 0.02", "--noise") == [NoiseLevel("shot0.001_read0.02", 0.001, 0.02)]
    for text in ("hihg", "1", "1,2", "0.1,0.1,0.1", "nan,0.1", "-0.1,0.1", ""):
        with pytest.raises(UserError, match=r"^--noise: found .*, expected high, low, both or SHOT,READ"):
            parse_noise(text, "--noise")


def request(monkeypatch: pytest.MonkeyPatch, line: str, file: str = "REDS4"):
    monkeypatch.setattr("sys.argv", ["script", *line.split()])
    return read_request("text", REPOSITORY / f"options/test/{file}.yml")


def test_defaults_come_from_the_option_file(monkeypatch) -> None:
    found = request(monkeypatch, "")
    assert (found.data, found.clips, found.limit) == (Path("datasets/REDS4"), None, None)
    assert [level.name for level in found.noise] == ["high"]
    assert (found.tiling.patch, found.tiling.batch, found.search.inclusive_search) == (64, None, True)
    assert [path.name for path in found.checkpoints] == ["two_stage_tiny.safetensors"]
    scenes = request(monkeypatch, "", "SC_burst")
    assert (scenes.noise, scenes.save_images) == (None, 1)


def test_command_line(monkeypatch, tmp_path) -> None:
    checkpoints = [tmp_path / "a.pth", tmp_path / "b.pth"]
    for checkpoint in checkpoints:
        checkpoint.touch()
    line = (
        f"--data d --compare {checkpoints[0]} {checkpoints[1]} --weights raw --noise both --protocol released "
        "--clips 020 011 --limit 3 --batch 2 --overlap 4 --save-images --resume --skip-bad --name n --workers 0 "
        "--device cpu --dtype bfloat16 --force_yml tiling:halo=8"
    )
    found = request(monkeypatch, line)
    assert (found.data, found.checkpoints) == (Path("d"), checkpoints)
    assert (found.averaged, found.clips, found.limit, found.save_images) == (False, ["020", "011"], 3, 1)
    assert [level.name for level in found.noise] == ["high", "low"]
    tiling = found.tiling
    assert (tiling.batch, tiling.overlap, tiling.halo, found.search.inclusive_search) == (2, 4, 8, False)
    assert (found.resume, found.skip_bad, found.name, found.workers) == (True, True, "n", 0)
    assert (found.device, found.dtype) == ("cpu", "bfloat16")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--limit 0", "--limit: found '0', expected at least 1"),
        ("--workers -1", "--workers: found '-1', expected at least 0"),
        ("--name ../x", r"--name: found '\.\./x', expected letters, digits"),
        ("--compare tiny", "--compare: found one checkpoint, expected at least two"),
        ("--overlap 6", "--overlap: found 6, expected a multiple of 4"),
        ("--batch 0", "--batch: found '0', expected at least 1"),
        ("--force_yml tiling:patch=30", r"REDS4\.yml: tiling\.patch: found 30, expected a multiple of 4"),
        ("--force_yml noise=loud", r"REDS4\.yml: noise: found 'loud', expected high, low, both or SHOT,READ"),
        ("-opt none.yml", r"none\.yml: no such file"),
        (f"-opt {'n' * 256}", r"n{60}\.\.\.: a name in this path has 256 bytes, the limit is 255"),
        ("--limit 1099511627776", "--limit: found '1099511627776', expected at most 1000000000"),
        ("--limit 1.5", "--limit: found '1.5', expected an integer"),
        (f"--workers {'9' * 5000}", r"--workers: found '9+\.\.\.9+', expected an integer"),
        ("--workers 1000", "--workers: found '1000', expected at most 256"),
        ("--batch 1000000", "--batch: found '1000000', expected at most 4096"),
        (
            "--force_yml tiling:patch=1099511627776",
            r"tiling\.patch: found 1099511627776, expected at most 4096",
        ),
        (
            "--force_yml tiling:search_window=65536",
            r"tiling\.search_window: found 65536, expected at most",
        ),
        ("--force_yml frames=10001", "frames: found 10001, expected at most 1000"),
        (f"--force_yml data={'n' * 256}", r"data: n{60}\.\.\.: a name in this path has 256 bytes"),
        (f"--name {'n' * 151}", "--name: found 'n+', expected letters, digits"),
        ("--lmit 3", r"unrecognized arguments: --lmit 3 \(--help lists the arguments\)"),
    ],
)
def test_wrong_command_lines(monkeypatch, line, message) -> None:
    with pytest.raises(UserError, match=message):
        request(monkeypatch, line)
