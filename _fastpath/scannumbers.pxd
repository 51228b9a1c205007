from libc.stdint cimport uint8_t

# The end of what begins at `pos`, or 0.
cdef Py_ssize_t find_card(const uint8_t *text, Py_ssize_t size, Py_ssize_t pos) noexcept nogil
cdef Py_ssize_t find_ssn(const uint8_t *text, Py_ssize_t size, Py_ssize_t pos) noexcept nogil
cdef Py_ssize_t find_phone(const uint8_t *text, Py_ssize_t size, Py_ssize_t pos) noexcept nogil
cdef Py_ssize_t find_ipv4(const uint8_t *text, Py_ssize_t size, Py_ssize_t pos) noexcept nogil
cdef Py_ssize_t find_ipv6(const uint8_t *text, Py_ssize_t size, Py_ssize_t pos) noexcept nogil
cdef Py_ssize_t find_iban(const uint8_t *text, Py_ssize_t size, Py_ssize_t pos) noexcept nogil
