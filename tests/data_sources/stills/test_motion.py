import cv2
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st

from twostagealign.data.pictures import bundled_picture
from twostagealign.data.stills.motion import (
    Motion,
    burst_from_picture,
    footprint,
    hand_held_motion,
    look,
    view_matrices,
)


@pytest.fixture(scope="module")
def astronaut():
    return bundled_picture("astronaut")


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.floats(0, 10), st.floats(0, 20))
@settings(deadline=None, max_examples=30)
def test_walk_stays_within_its_speeds_and_the_reference_at_rest(seed, frames, slowest, range_of_speeds):
    speed = (slowest, slowest + range_of_speeds)
    motion = hand_held_motion(np.random.default_rng(seed), frames, speed, max_rotation=2.0, max_zoom=0.01)
    step = np.linalg.norm(np.diff(motion.shift, axis=0), axis=1)
    assert motion.shift.shape == (frames, 2)
    assert (step >= speed[0] - 1e-9).all()
    assert (step <= speed[1] + 1e-9).all()
    assert (np.abs(np.diff(motion.angle)) <= np.radians(2)).all()
    assert (np.abs(np.diff(np.log(motion.zoom))) <= -np.log(0.99) + 1e-9).all()
    reference = frames // 2
    assert not motion.shift[reference].any()
    assert motion.angle[reference] == 0
    assert motion.zoom[reference] == 1


def test_walk_keeps_its_direction_for_a_while():
    rng = np.random.default_rng(0)
    steps = [np.diff(hand_held_motion(rng, 3, (1, 1)).shift, axis=0) for _ in range(400)]
    assert np.mean([first @ second for first, second in steps]) > 0.7  # 0 if directions were independent
    assert np.abs(np.mean(steps, axis=(0, 1))).max() < 0.15  # and none is preferred


def test_shift_is_where_the_content_of_the_reference_lies_in_a_frame(astronaut):
    """Brute force: the middle of the reference is looked for all over each frame."""
    frames, shifts = burst_from_picture(astronaut, size=(256, 288), speed=(4, 10), seed=3)
    views = [cv2.cvtColor(frame.permute(1, 2, 0).numpy(), cv2.COLOR_RGB2GRAY) for frame in frames]
    top, left = 96, 112
    middle = views[2][top : top + 64, left : left + 64]
    for view, shift in zip(views, shifts, strict=True):
        score = cv2.matchTemplate(view, middle, cv2.TM_CCOEFF_NORMED)
        found = np.array(np.unravel_index(score.argmax(), score.shape))
        np.testing.assert_allclose(found - (top, left), 2 * shift, atol=0.75)


def test_shift_is_true_below_a_pixel(astronaut):
    """Each frame is the picture, moved by SciPy's splines by just this fraction of a pixel."""
    picture = astronaut[..., 1]
    frames, shifts = burst_from_picture(astronaut, size=(192, 192), speed=(0.3, 1.5), seed=1)

    def error(frame, shift):
        moved = scipy.ndimage.shift(picture.astype(float), 2 * shift, order=3)[160:352, 160:352]
        return np.abs(moved - frame[1].numpy()).mean()

    for frame, shift in zip(frames, shifts, strict=True):
        true = error(frame, shift)
        for wrong in ([0.1, 0], [-0.1, 0], [0, 0.1], [0, -0.1]):
            assert error(frame, shift + wrong) > true
        assert true < 1


def test_turn_and_zoom_are_around_the_middle_of_the_reference(astronaut):
    motion = Motion(np.array([[0.0, 0.0], [3.0, -5.0], [0.0, 0.0]])[[1, 0, 1]], np.radians([9, 0, -9]), np.ones(3))
    views = look(astronaut, motion, (150, 150), (128, 128))
    # The same by rotating the frame back: content at the middle + shift turns about that point.
    for view, angle in ((views[0], -9), (views[2], 9)):
        upright = cv2.warpAffine(
            view,
            cv2.getRotationMatrix2D((63.5 - 10, 63.5 + 6), -angle, 1),
            (128, 128),
            flags=cv2.INTER_CUBIC,
        )
        difference = upright[54:86, 38:70].astype(float) - views[1][48:80, 48:80]
        assert np.abs(difference).mean() < 4
    zoomed = look(astronaut, Motion(np.zeros((3, 2)), np.zeros(3), np.array([2.0, 1.0, 0.5])), (150, 150), (128, 128))
    assert np.abs(zoomed[0][::2, ::2].astype(float)[1:-1, 1:-1] - zoomed[1][32:96, 32:96][1:-1, 1:-1]).mean() < 12
    assert np.abs(zoomed[2][32:96, 32:96].astype(float) - zoomed[1][::2, ::2]).mean() < 12


def test_footprint_holds_all_that_the_frames_see():
    rng = np.random.default_rng(0)
    for _ in range(20):
        motion = hand_held_motion(rng, 5, (0, 20), max_rotation=5, max_zoom=0.05)
        low, high = footprint(motion, (40, 60))
        y, x = np.mgrid[:40, :60]
        seen = np.einsum("nij,jyx->niyx", view_matrices(motion, (0, 0), (40, 60)), np.stack([x, y, np.ones_like(x)]))
        for axis, values in ((0, seen[:, 1]), (1, seen[:, 0])):
            assert low[axis] < values.min() < low[axis] + 2
            assert high[axis] - 4 < values.max() < high[axis] - 1


def test_demo_burst_moves_as_far_as_asked(astronaut):
    frames, shifts = burst_from_picture(astronaut, seed=7)
    assert frames.shape == (5, 3, 320, 320)
    step = np.linalg.norm(np.diff(shifts, axis=0), axis=1)
    assert (step >= 16).all()
    assert (step <= 24).all()
    np.testing.assert_array_equal(frames[2].permute(1, 2, 0), astronaut[96:416, 96:416])
    again, _ = burst_from_picture(astronaut, seed=7)
    assert again.equal(frames)
    with pytest.raises(ValueError, match="even height and width"):
        burst_from_picture(astronaut, size=(319, 320))
