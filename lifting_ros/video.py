"""Frames from a video, an animated GIF, a photo or a camera: one way to read them all."""

import pathlib

import cv2

PHOTOS = {'.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.ppm'}


class Frames:
    """Pictures one after the other.

    Args:
        source: path of a video or a photo, or the number of a camera (an int, or digits).
        longest: the longer side is shrunk to this many pixels; 0: as it is.

    Attributes:
        kind: 'video', 'photo' or 'camera'.
        rate: frames per second of the video; of a camera what it says, or 30; of a photo 0.
        count: frames in the video as its header says (0: not known); 1 for a photo.
        width, height: of the frames as they are given out, px.
        scale: given-out size over original size.

    Raises:
        OSError: no such file, or it cannot be read.
    """

    def __init__(self, source, longest=0):
        self.source, self._photo, self._capture = str(source), None, None
        if self.source.isdigit():
            self.kind = 'camera'
            self._open(int(self.source))
        else:
            if not pathlib.Path(self.source).is_file():
                raise FileNotFoundError(f'no such file: {self.source}')
            if pathlib.Path(self.source).suffix.lower() in PHOTOS:
                self.kind, self.rate, self.count = 'photo', 0.0, 1
                self._photo = cv2.imread(self.source, cv2.IMREAD_COLOR)
                if self._photo is None:
                    raise OSError(f'not a picture that can be read: {self.source}')
                height, width = self._photo.shape[:2]
            else:
                self.kind = 'video'
                self._open(self.source)
        if self._capture is not None:
            rate = self._capture.get(cv2.CAP_PROP_FPS)
            self.rate = rate if 0 < rate < 1000 else 30.0
            self.count = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
            width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
            height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.scale = min(1.0, longest / max(width, height)) if longest else 1.0
        self.width, self.height = round(self.scale * width), round(self.scale * height)

    def _open(self, source):
        self._capture = cv2.VideoCapture(source)
        if not self._capture.isOpened():
            raise OSError(f'{self.kind} {self.source} cannot be opened')

    def read(self):
        """Return the next frame, (H, W, 3) uint8 BGR, or None at the end."""
        if self._photo is not None:
            image = self._photo
        else:
            good, image = self._capture.read()
            if not good:
                return None
        if image.shape[:2] != (self.height, self.width):
            image = cv2.resize(image, (self.width, self.height), interpolation=cv2.INTER_AREA)
        return image

    def rewind(self):
        """Start again; a camera goes on."""
        if self.kind == 'video':
            self._capture.release()
            self._open(self.source)

    def close(self):
        """Let go of the file or the camera."""
        if self._capture is not None:
            self._capture.release()
