"""Bytes to frames and frames to bytes: `probe`, `decode`, `iter_frames`, and the encoders in `encode`."""

from reelworks.video.decode import decode, iter_frames, open_video, probe
from reelworks.video.frames import Frames
from reelworks.video.limits import Limits
from reelworks.video.onward import open_onward
from reelworks.video.probe import Probe

__all__ = ["Frames", "Limits", "Probe", "decode", "iter_frames", "open_onward", "open_video", "probe"]
