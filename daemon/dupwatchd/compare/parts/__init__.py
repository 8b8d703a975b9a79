"""Finds pictures that share a part: crops, frames, captions.

In reading order: `agreement` (when keypoints of two pictures show that the pictures share a part), `search` (all such
pairs, without comparing each picture with all others), `packed` (the keypoints of many pictures), `keypoint_tree` (near
keypoints), `joining` (from these to pairs of pictures), `voting` (the rule of `agreement`, compiled), `look` (what
such a pair is), `surround` (whether one is the other in a frame).
"""
