"""Find message boundaries in a PostgreSQL byte stream. Never copies a payload."""
from libc.stdint cimport uint8_t

from _fastpath.wire cimport HEADER_SIZE, LENGTH_MIN, load_be32

from _fastpath.errors import FrameError


cdef FrameStatus frame_next(
    const uint8_t *data, Py_ssize_t size, Py_ssize_t pos, Py_ssize_t frame_size_max, Frame *frame
) noexcept nogil:
    """Judge the message that begins at `pos`; needs 0 <= pos <= size."""
    if size - pos < HEADER_SIZE:
        return FRAME_INCOMPLETE
    # A length of 2^31 or more is negative here, so it is refused like any other bad one.
    cdef Py_ssize_t length = load_be32(data + pos + 1)
    # Refuse before buffering: a peer must not make us hold what we will reject.
    if not LENGTH_MIN <= length <= frame_size_max:    # length counts itself, not the type byte
        return FRAME_REFUSED
    if size - pos - 1 < length:
        return FRAME_INCOMPLETE
    frame.kind = data[pos]
    frame.end = pos + 1 + length
    return FRAME_OK


cdef FrameStatus frame_run(
    const uint8_t *data, Py_ssize_t size, Py_ssize_t pos, uint8_t kind,
    Py_ssize_t frame_size_max, Py_ssize_t count_max, Run *run
) noexcept nogil:
    """Find the end of the complete messages of type `kind` that begin at `pos`."""
    cdef Frame frame
    cdef FrameStatus status
    run.end = pos
    run.count = 0
    while run.count < count_max:
        status = frame_next(data, size, run.end, frame_size_max, &frame)
        if status != FRAME_OK or frame.kind != kind:
            return status
        run.end = frame.end
        run.count += 1
    return FRAME_OK


def scan_frames(bytes data not None, Py_ssize_t frame_size_max):
    """Return ([(kind, end), ...], where the incomplete rest begins).

    Raises FrameError on a bad length.
    """
    cdef Frame frame
    cdef FrameStatus status
    cdef Py_ssize_t pos = 0
    frames = []
    while True:
        status = frame_next(data, len(data), pos, frame_size_max, &frame)
        if status == FRAME_REFUSED:
            raise FrameError("message length out of bounds", pos, frame_size_max)
        if status == FRAME_INCOMPLETE:
            return frames, pos
        frames.append((frame.kind, frame.end))
        pos = frame.end


def scan_run(
    bytes data not None, Py_ssize_t pos, uint8_t kind, Py_ssize_t frame_size_max,
    Py_ssize_t count_max=0x7FFFFFFF,
):
    """Return (status, end, count) of the run of `kind` at `pos`: -1 refused, 0 incomplete, 1 ok."""
    if not 0 <= pos <= len(data):
        raise ValueError("pos is outside data")
    cdef Run run
    cdef FrameStatus status = frame_run(
        data, len(data), pos, kind, frame_size_max, count_max, &run
    )
    return <int>status, run.end, run.count
