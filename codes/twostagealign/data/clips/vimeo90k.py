"""Vimeo90K: septuplets, clips of seven frames."""

from twostagealign.data.clips.video_clips import VideoClips


class Vimeo90K(VideoClips):
    """Clean training bursts out of the septuplets of Vimeo90K: the clips that sep_trainlist.txt names.

    The source is the folder vimeo_septuplet as it is distributed, its folder sequences, or an LMDB of that.

    Source: Xue et al., "Video Enhancement with Task-Oriented Flow", IJCV 2019.
    """

    CLIP_LIST = "sep_trainlist.txt"
    CLIPS_FOLDER = "sequences"
