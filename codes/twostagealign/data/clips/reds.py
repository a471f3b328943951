"""REDS: the data set that the paper trains and tests on."""

from twostagealign.data.clips.video_clips import VideoClips


class REDS(VideoClips):
    """Clean training bursts out of the clips of REDS: all clips but the test clips.

    Source: Nah et al., "NTIRE 2019 Challenge on Video Deblurring and Super-Resolution", CVPR Workshops 2019.
    """

    TEST_CLIPS = ("000", "011", "015", "020")
