"""The shipped network with parts switched off."""

import pytest
import torch

from twostagealign.archs import TwoStageNet
from twostagealign.merging import align_to_reference, merge_reference
from twostagealign.studies.ablation.methods import AverageAlone


@pytest.mark.parametrize("number", [1, 4, 5])
def test_the_average_alone_is_a_burst_of_one_frame(number: int) -> None:
    torch.manual_seed(0)
    network = TwoStageNet(nf=8, groups=8, dense_search=True, merge=True).eval()
    lq, noise_map = torch.rand(1, number, 4, 16, 16), torch.full((1, number, 4, 16, 16), 0.1)
    with torch.inference_mode():
        restored = AverageAlone(network)(lq, noise_map)
        average, its_noise = (maps[:, [number // 2]] for maps in merge_reference(*align_to_reference(lq, noise_map)))
        assert torch.equal(restored, network(average, its_noise))
        assert torch.equal(restored, network(lq, noise_map)) == (number == 1)
