from libc.stdint cimport uint8_t


cdef enum FrameStatus:
    FRAME_REFUSED = -1
    FRAME_INCOMPLETE = 0
    FRAME_OK = 1


cdef struct Frame:
    uint8_t kind              # message type byte, e.g. b"Q"
    Py_ssize_t end            # offset one past the payload


cdef struct Run:
    Py_ssize_t end            # offset one past the last complete message of the run
    Py_ssize_t count          # messages in the run


cdef FrameStatus frame_next(
    const uint8_t *data, Py_ssize_t size, Py_ssize_t pos, Py_ssize_t frame_size_max, Frame *frame
) noexcept nogil

# The status is that of what follows the run: OK (a complete message of another type, or
# `count_max` reached), INCOMPLETE (the bytes end) or REFUSED (a bad length; the run still stands).
cdef FrameStatus frame_run(
    const uint8_t *data, Py_ssize_t size, Py_ssize_t pos, uint8_t kind,
    Py_ssize_t frame_size_max, Py_ssize_t count_max, Run *run
) noexcept nogil
