"""Finds pictures that share a part: crops, frames, captions.

In reading order: `agreement` (when the keypoints of two pictures show that they share a part).
"""
