import pytest

from twostagealign.matching import Search


@pytest.mark.parametrize("window", [8, 24])  # 24: its middle is not a candidate
def test_bad_search_window(window) -> None:
    with pytest.raises(ValueError, match=f"^search_window: found {window}, expected a multiple of 16, at least 16"):
        Search(window)
