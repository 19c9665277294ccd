"""A small window that shows frames and collects key presses; tkinter, imported when opened."""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray


class NoDisplayError(RuntimeError):
    """There is no screen to open a window on, or no tkinter to open it with."""


class Window:
    """Shows uint8 frames and remembers the keys pressed since they were last asked for.

    Args:
        title: of the window.
        least_height: frames smaller than this are enlarged by a whole factor, pixels.
        fps: frames per second that are shown at most, so that people can follow; None: any.

    Raises:
        NoDisplayError: if no window can be opened here; the message says what to do.
    """

    def __init__(self, title: str, least_height: int = 480, fps: float | None = None) -> None:
        try:
            import tkinter
        except ImportError as error:
            raise NoDisplayError(
                "a window needs tkinter, which this Python lacks: install it "
                "(Debian and Ubuntu: python3-tk) or use scripts.record to write a video"
            ) from error
        try:
            self._root: Any = tkinter.Tk()
        except tkinter.TclError as error:
            raise NoDisplayError(
                f"no window can be opened here ({error}): run it where a screen is, set DISPLAY, "
                "or use scripts.record to write a video"
            ) from error
        self._photo_type = tkinter.PhotoImage
        self._gone = tkinter.TclError
        self._least_height = least_height
        self._pause = 1 / fps if fps else 0.0
        self._shown = -self._pause
        self._keys: list[str] = []
        self._photo: Any = None
        self._root.title(title)
        self._root.resizable(False, False)
        self._root.configure(background="black")
        self._label: Any = tkinter.Label(self._root, borderwidth=0)
        self._label.pack()
        self._root.bind("<Key>", self._pressed)
        self._root.protocol("WM_DELETE_WINDOW", self.close)
        self.closed = False

    def _pressed(self, event: Any) -> None:
        self._keys.append(event.keysym.lower())

    def show(self, frame: NDArray[np.uint8]) -> None:
        """Show a frame, uint8 (H, W, 3); does nothing once the window is closed.

        With ``fps`` it first waits for what remains of the time of the frame before.

        Raises:
            ValueError: if the frame has another type or shape.
        """
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise ValueError(
                f"a frame must be uint8 (H, W, 3), got {frame.dtype} with shape {frame.shape}"
            )
        if self.closed:
            return
        time.sleep(max(0.0, self._shown + self._pause - time.monotonic()))
        self._shown = time.monotonic()
        factor = max(1, -(-self._least_height // frame.shape[0]))
        big = frame.repeat(factor, axis=0).repeat(factor, axis=1)
        data = b"P6 %d %d 255\n" % (big.shape[1], big.shape[0]) + big.tobytes()
        try:
            # A label shows a picture only while Python holds on to it.
            self._photo = self._photo_type(master=self._root, data=data, format="PPM")
            self._label.configure(image=self._photo)
        except self._gone:
            self.closed = True
            return
        self.poll()

    def poll(self) -> None:
        """Let the window redraw and take in what was pressed; never waits."""
        if self.closed:
            return
        try:
            self._root.update()
        except self._gone:
            self.closed = True

    def keys(self) -> list[str]:
        """The keys pressed since the last call, oldest first, named as X11 names them in
        lower case ("up", "space", "c", "escape")."""
        self.poll()
        pressed, self._keys = self._keys, []
        return pressed

    def close(self) -> None:
        """Close the window; closing twice does no harm."""
        if self.closed:
            return
        self.closed = True
        self._root.destroy()
