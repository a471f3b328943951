from pathlib import Path

import numpy as np
import pytest
import torch

from twostagealign.archs import LowResolutionFeatures, from_released

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(autouse=True)
def same_random_numbers_every_time() -> None:
    torch.manual_seed(0)


def test_equals_reference_numbers() -> None:
    numbers = {name: torch.from_numpy(array) for name, array in np.load(DATA / "downsampler.npz").items()}
    weights = {name.removeprefix("state/"): array for name, array in numbers.items() if name.startswith("state/")}
    name, state = from_released(weights)
    assert name == "LowResolutionFeatures"
    net = LowResolutionFeatures()
    net.load_state_dict(state)
    with torch.no_grad():
        output = net(numbers["input"])
    torch.testing.assert_close(output, numbers["output"], rtol=0, atol=1e-4 * numbers["output"].abs().max().item())


@pytest.mark.parametrize("leading", [(), (3,), (2, 5)])
def test_leading_dimensions_are_kept_and_frames_independent(leading: tuple[int, ...]) -> None:
    net, raw = LowResolutionFeatures(8), torch.rand(*leading, 4, 16, 24)
    features = net(raw)
    assert features.shape == (*leading, 8, 4, 6)
    alone = net(raw.reshape(-1, 4, 16, 24)[-1])
    torch.testing.assert_close(features.reshape(-1, 8, 4, 6)[-1], alone, rtol=0, atol=1e-5)


def test_brightness_does_not_matter() -> None:
    # The instance norm removes gain: what block matching compares is structure.
    net, raw = LowResolutionFeatures(), torch.rand(4, 16, 24)
    torch.testing.assert_close(net(raw), net(3 * raw), rtol=0, atol=1e-2)


@pytest.mark.parametrize("shape", [(3, 16, 16), (4, 16), (4, 18, 16), (2, 4, 16, 15)])
def test_unfit_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="raw has shape"):
        LowResolutionFeatures()(torch.rand(shape))
