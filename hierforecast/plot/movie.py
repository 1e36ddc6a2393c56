"""Frames to files: GIF, MP4, or one HTML page with its own player, and nothing from outside."""

from __future__ import annotations

import base64
import io
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from hierforecast.errors import DataError, import_extra
from hierforecast.io.atomic import write_atomically

Writer = Callable[[Path, list[Image.Image], float, int], None]
# The first one plays everywhere; the other is in every ffmpeg.
CODECS = (("libx264", "-crf", "18"), ("mpeg4", "-q:v", "2"))

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ margin: 0; font: 14px system-ui, sans-serif; color: #1F2630; background: #fff; }}
main {{ max-width: {width}px; margin: auto; padding: 8px; }}
img {{ width: 100%; display: block; }}
nav {{ display: flex; gap: 12px; align-items: center; }}
button {{ width: 72px; padding: 6px; border: 1px solid #D5D9E0; border-radius: 6px;
  background: #fff; cursor: pointer; }}
input {{ flex: 1; accent-color: #0072B2; }}
</style>
<main><img id="view" alt="{title}">
<nav><button id="play">Pause</button><input id="at" type="range" min="0" max="{last}" value="0">
</nav></main>
<script>
const frames = [{frames}].map(f => "data:image/png;base64," + f);
const view = document.getElementById("view"), at = document.getElementById("at");
const play = document.getElementById("play");
let i = 0, running = true, rest = 0;
function show(k) {{ i = k; view.src = frames[k]; at.value = k; }}
setInterval(() => {{
  if (!running) return;
  if (i === frames.length - 1 && rest++ < {hold}) return;
  rest = 0; show((i + 1) % frames.length);
}}, {interval});
play.onclick = () => {{ running = !running; play.textContent = running ? "Pause" : "Play"; }};
at.oninput = () => {{ running = false; play.textContent = "Play"; show(+at.value); }};
show(0);
</script></html>
"""


def writer_of(path: Path) -> Writer:
    """What writes files of this kind: called with path, images, frames a second and frames to hold.

    Raises:
        DataError: for another kind than .gif, .html and .mp4.
        MissingExtraError: for .mp4 without ffmpeg.
    """
    writers: dict[str, Writer] = {".gif": write_gif, ".html": write_html, ".mp4": write_mp4}
    writer = writers.get(path.suffix.lower())
    if writer is None:
        raise DataError(f"cannot write '{path}': let the path end in .gif, .html or .mp4")
    if writer is write_mp4:
        ffmpeg()  # or a missing one would be found out after the drawing
    return writer


def render(
    ax: Axes, show: Callable[[int], list[Artist]], frames: int, dpi: float
) -> Iterator[Image.Image]:
    """Draw what stands still once, then only the moving artists of each frame over it.

    Args:
        ax: the only axes of a figure out of pyplot's hands; its layout is final.
        show: frame -> the artists of that frame.
        frames: how many.
        dpi: pixels per inch.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None  # axes on show belong to one
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    still = canvas.copy_from_bbox(figure.bbox)
    for frame in range(frames):
        canvas.restore_region(still)
        for artist in sorted(show(frame), key=lambda a: a.get_zorder()):
            ax.draw_artist(artist)
        yield Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def write_gif(path: Path, images: list[Image.Image], fps: float, hold: int) -> None:
    """A GIF that loops, the last frame staying for `hold` frames more."""
    palette = palette_of(images[-1])
    frames = [indexed(image, palette) for image in images]
    step = round(1000 / fps)
    times = [step] * (len(frames) - 1) + [step * (hold + 1)]
    options = {"save_all": True, "append_images": frames[1:], "duration": times, "loop": 0}
    write_atomically(path, lambda stream: frames[0].save(stream, format="GIF", **options))


def ffmpeg() -> str:
    """The system's ffmpeg, or that of the extra `video`.

    Raises:
        MissingExtraError: if there is neither.
    """
    found = shutil.which("ffmpeg")
    if found is not None:
        return found
    extra = import_extra("imageio_ffmpeg", "video", "to write .mp4 files (or ffmpeg on the PATH)")
    return str(extra.get_ffmpeg_exe())


def write_mp4(path: Path, images: list[Image.Image], fps: float, hold: int) -> None:
    """A film; the last frame stays for `hold` frames more.

    Raises:
        MissingExtraError: if there is no ffmpeg.
        DataError: if ffmpeg fails, with what it said.
    """
    frames = [_even(image) for image in images]
    raw = b"".join(frame.tobytes() for frame in [*frames, *frames[-1:] * hold])
    size = f"{frames[0].width}x{frames[0].height}"
    given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", f"{fps:g}", "-i", "-"]
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        for codec in CODECS:
            wanted = ["-an", "-c:v", *codec, "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
            command = [ffmpeg(), "-y", "-loglevel", "error", *given, *wanted, str(film)]
            run = subprocess.run(command, input=raw, capture_output=True)
            if run.returncode == 0:
                write_atomically(path, lambda stream: stream.write(film.read_bytes()))
                return
    said = run.stderr.decode(errors="replace").strip().splitlines()[-1:]
    raise DataError(f"ffmpeg could not write '{path}': {''.join(said)}")


def _even(image: Image.Image) -> Image.Image:
    """The image with sides of even length, as films need them; what is added is as its corner."""
    wide, high = image.width + image.width % 2, image.height + image.height % 2
    if (wide, high) == image.size:
        return image
    larger = Image.new("RGB", (wide, high), image.getpixel((0, 0)))
    larger.paste(image)
    return larger


def palette_of(image: Image.Image) -> np.ndarray:
    """The commonest colors (at most 256, 3) as they are: a fitted palette would tint white.

    One palette serves all frames, so that colors do not flicker.
    """
    colors, counts = np.unique(np.asarray(image).reshape(-1, 3), axis=0, return_counts=True)
    return colors[np.argsort(-counts)][:256]


def indexed(image: Image.Image, palette: np.ndarray) -> Image.Image:
    """The image in the nearest colors of a palette, exact where a color is in it."""
    pixels = np.asarray(image).astype(np.int32) @ np.array([65536, 256, 1], dtype=np.int32)
    codes, inverse = np.unique(pixels, return_inverse=True)
    colors = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1).astype(np.float32)
    own = palette.astype(np.float32)
    distance = (own**2).sum(axis=1) - 2 * colors @ own.T
    nearest = distance.argmin(axis=1).astype(np.uint8)
    out = Image.fromarray(nearest[inverse].reshape(pixels.shape))
    out.putpalette(palette.astype(np.uint8).tobytes())
    return out


def write_html(path: Path, images: list[Image.Image], fps: float, hold: int) -> None:
    """A page that plays the frames, which are inside it."""
    encoded, palette = [], palette_of(images[-1])
    for image in images:
        buffer = io.BytesIO()
        indexed(image, palette).save(buffer, format="PNG")
        encoded.append('"' + base64.b64encode(buffer.getvalue()).decode("ascii") + '"')
    page = PAGE.format(
        title=path.stem.replace("_", " "),
        width=images[0].width,
        last=len(images) - 1,
        frames=",\n".join(encoded),
        hold=hold,
        interval=round(1000 / fps),
    )
    write_atomically(path, lambda stream: stream.write(page.encode("utf-8")))
