"""Byte order and constants of the wire format. Inline, so that loops never call out."""
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef enum:
    HEADER_SIZE = 5           # type byte, then a length that counts itself
    LENGTH_SIZE = 4
    LENGTH_MIN = 4
    DATA_ROW = 68             # b"D"
    ROW_DESCRIPTION = 84      # b"T"
    FORMAT_TEXT = 0
    FORMAT_BINARY = 1
    NULL_CELL = -1


cdef inline int16_t load_be16(const uint8_t *p) noexcept nogil:
    return <int16_t>((<uint16_t>p[0] << 8) | <uint16_t>p[1])


cdef inline int32_t load_be32(const uint8_t *p) noexcept nogil:
    return <int32_t>(
        (<uint32_t>p[0] << 24) | (<uint32_t>p[1] << 16) | (<uint32_t>p[2] << 8) | <uint32_t>p[3]
    )


cdef inline int64_t load_be64(const uint8_t *p) noexcept nogil:
    return <int64_t>(
        (<uint64_t><uint32_t>load_be32(p) << 32) | <uint64_t><uint32_t>load_be32(p + 4)
    )


cdef inline void store_be16(uint8_t *p, int16_t value) noexcept nogil:
    p[0] = <uint8_t>((<uint16_t>value >> 8) & 0xFF)
    p[1] = <uint8_t>(<uint16_t>value & 0xFF)


cdef inline void store_be32(uint8_t *p, int32_t value) noexcept nogil:
    p[0] = <uint8_t>((<uint32_t>value >> 24) & 0xFF)
    p[1] = <uint8_t>((<uint32_t>value >> 16) & 0xFF)
    p[2] = <uint8_t>((<uint32_t>value >> 8) & 0xFF)
    p[3] = <uint8_t>(<uint32_t>value & 0xFF)


cdef inline void store_be64(uint8_t *p, int64_t value) noexcept nogil:
    store_be32(p, <int32_t>(value >> 32))
    store_be32(p + 4, <int32_t><uint32_t>value)
