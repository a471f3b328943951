import torch

from twostagealign.runtime.threads import background_pool


def test_background_threads_use_one_core_each() -> None:
    before = torch.get_num_threads()
    with background_pool(2) as pool:
        assert set(pool.map(lambda _: torch.get_num_threads(), range(8))) == {1}
    assert torch.get_num_threads() == before
