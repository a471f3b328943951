from functools import partial
from itertools import combinations

import numpy as np
import pytest
import torch

from twostagealign.data import bundled_picture, degrade_by_protocol
from twostagealign.data.burst import NoiseLevel
from twostagealign.isp import LEAST_FRAMES, find_defects, pack, replace_defects, unpack

SHOT, READ = 2e-3, 3e-3


def flat(frames: int, level: float = 0.2, side: int = 200, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    deviation = (SHOT * level + READ**2) ** 0.5
    return [level + deviation * torch.randn(4, side, side, generator=generator) for _ in range(frames)]


def photographs(name: str, noise: NoiseLevel, step: int, frames: int = 5) -> list[torch.Tensor]:
    """A photograph, which moves by `step` pixels from frame to frame."""
    picture = torch.from_numpy(bundled_picture(name)).permute(2, 0, 1)
    height, width = (side // 2 * 2 - 2 * 20 * 2 for side in picture.shape[1:])
    return [
        degrade_by_protocol(picture[:, step * i : step * i + height, step * i : step * i + width], noise, i + 1).raw()
        for i in range(frames)
    ]


def some_places(planes: torch.Tensor, count: int, seed: int = 1) -> torch.Tensor:
    """Places that are not beside each other."""
    _, height, width = planes.shape
    rng = np.random.default_rng(seed)
    cells = rng.choice((height // 4 - 1) * (width // 4 - 1), count, replace=False)
    rows, columns = np.divmod(cells, width // 4 - 1)
    return torch.from_numpy(np.stack([rng.integers(0, 4, count), 4 * rows + 2, 4 * columns + 2], axis=1))


def search(frames: list[torch.Tensor], shot: float, read: float) -> torch.Tensor:
    height, width = frames[0].shape[1:]
    return find_defects([partial(rows_of, frame) for frame in frames], (height, width), shot, read)


def rows_of(planes: torch.Tensor, rows: slice) -> torch.Tensor:
    return planes[:, rows]


def found(frames: list[torch.Tensor], places: torch.Tensor, shot: float = SHOT, read: float = READ) -> tuple[int, int]:
    """Number of the places that were found, and of others."""
    known = {tuple(place) for place in places.tolist()}
    defects = {tuple(place) for place in search(frames, shot, read).tolist()}
    return len(defects & known), len(defects - known)


@pytest.mark.parametrize("frames", [LEAST_FRAMES, 5, 9])
def test_false_alarms_of_noise(frames) -> None:
    """Less than one in a million samples."""
    alarms = sum(len(search(flat(frames, seed=seed, side=360), SHOT, READ)) for seed in range(2))
    assert alarms <= 1


@pytest.mark.parametrize("noise", [(6.4e-3, 2e-2), (1e-4, 1e-3)], ids=["noisy", "clear"])
@pytest.mark.parametrize(("step", "bound"), [(2, 1e-5), (0, 1e-3)], ids=["moving", "still"])
def test_false_alarms_of_texture(noise, step, bound) -> None:
    """Details of a scene that moves are no defects. Of one that does not, the sharpest points may be taken for some."""
    for name in ("chelsea", "rocket"):
        frames = photographs(name, NoiseLevel("of a test", *noise), step)
        assert len(search(frames, *noise)) <= bound * frames[0].numel()


@pytest.mark.parametrize("strength", [8, 30])
@pytest.mark.parametrize("sign", [1, -1], ids=["hot", "dead"])
def test_defects_of_a_flat_scene_are_found(strength, sign) -> None:
    frames = flat(5)
    places = some_places(frames[0], 60)
    deviation = (SHOT * 0.2 + READ**2) ** 0.5
    for frame in frames:
        frame[tuple(places.T)] += sign * strength * deviation
    hits, others = found(frames, places)
    assert hits >= 57
    assert others == 0


def test_hot_samples_of_a_photograph_are_found_and_replaced() -> None:
    level = NoiseLevel("of a test", SHOT, READ)
    frames = photographs("chelsea", level, 2)
    clean = [frame.clone() for frame in frames]
    places = some_places(frames[0], 50)
    for frame in frames:
        frame[tuple(places.T)] = 0.9
    hits, _ = found(frames, places)
    assert hits >= 48
    replace_defects(frames[2], places)
    assert (frames[2] - clean[2])[tuple(places.T)].abs().mean() < 0.03
    frames[2][tuple(places.T)] = clean[2][tuple(places.T)]
    assert torch.equal(frames[2], clean[2])


def test_what_is_hot_in_one_frame_is_no_defect() -> None:
    frames = flat(5)
    places = some_places(frames[0], 60)
    frames[3][tuple(places.T)] = 1
    assert len(search(frames, SHOT, READ)) == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 2), (3, 3)])
def test_small_frames(size) -> None:
    """The outermost samples are not examined."""
    assert search([torch.rand(4, *size) for _ in range(3)], SHOT, READ).shape[1:] == (3,)


def test_every_row_is_examined_once() -> None:
    frames = flat(5, side=300)
    rows = range(4, 298, 3)
    places = torch.tensor([(row % 4, row, 4 + (7 * row) % 290) for row in rows])
    for frame in frames:
        frame[tuple(places.T)] = 0.8
    assert sorted(search(frames, SHOT, READ).tolist()) == sorted(places.tolist())


@pytest.mark.parametrize("bright", [2, 3])
def test_defects_show_in_enough_frames(bright) -> None:
    """A hot sample does not show where its surroundings are clipped."""
    frames = flat(5)
    places = some_places(frames[0], 60)
    for number, frame in enumerate(frames):
        if number >= len(frames) - bright:
            frame.fill_(1)
        frame[tuple(places.T)] = 1
    assert found(frames, places) == ((60, 0) if 5 - bright >= LEAST_FRAMES else (0, 0))


@pytest.mark.parametrize("plane", range(4))
def test_what_a_lens_draws_is_no_defect(plane) -> None:
    """Two of the four samples beside the middle one, which have other colours, stand out as it does."""
    row, column = 20 + plane // 2, 20 + plane % 2  # in the mosaic
    beside = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
    for pair in combinations(beside, 2):
        assert [plane, 10, 10] not in search(with_points([(row, column), *pair]), SHOT, READ).tolist()
    away = [(row + 1, column + 1), (row - 1, column - 1), beside[0]]
    assert [plane, 10, 10] in search(with_points([(row, column), *away]), SHOT, READ).tolist()


def with_points(places: list[tuple[int, int]]) -> list[torch.Tensor]:
    """Frames of a flat scene, in whose mosaics some samples stand out."""
    mosaics = unpack(torch.stack(flat(5, side=32)))
    for row, column in places:
        mosaics[:, row, column] = 0.5
    return list(pack(mosaics))


def test_defects_beside_each_other_do_not_replace_each_other() -> None:
    planes = torch.full((4, 8, 8), 100, dtype=torch.uint16)
    defects = torch.tensor([[1, 3, 3], [1, 3, 4], [1, 0, 0], [2, 7, 7]])
    planes.numpy()[tuple(defects.numpy().T)] = 60000
    replace_defects(planes, defects)
    assert planes.dtype == torch.uint16
    assert (planes.numpy() == 100).all()
