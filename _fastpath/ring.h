/* What the journal needs below Cython: CRC-32C, ordered loads and stores, the double mapping. */
#ifndef POSTERN_RING_H
#define POSTERN_RING_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

static uint32_t pn_crc_table[8][256];
static void pn_crc_init(void) {
    for (uint32_t n = 0; n < 256; n++) {
        uint32_t crc = n;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? (crc >> 1) ^ 0x82F63B78u : crc >> 1;
        pn_crc_table[0][n] = crc;
    }
    for (uint32_t n = 0; n < 256; n++)
        for (int k = 1; k < 8; k++)
            pn_crc_table[k][n] = (pn_crc_table[k - 1][n] >> 8)
                ^ pn_crc_table[0][pn_crc_table[k - 1][n] & 0xff];
}
static uint32_t pn_crc_soft(uint32_t crc, const uint8_t *data, size_t size) {
    while (size--)
        crc = (crc >> 8) ^ pn_crc_table[0][(crc ^ *data++) & 0xff];
    return crc;
}
static uint32_t pn_crc_soft8(uint32_t crc, const uint8_t *data, size_t size) {
    while (size >= 8) {
        uint32_t low = crc ^ ((uint32_t)data[0] | (uint32_t)data[1] << 8
            | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24);
        crc = pn_crc_table[7][low & 0xff] ^ pn_crc_table[6][(low >> 8) & 0xff]
            ^ pn_crc_table[5][(low >> 16) & 0xff] ^ pn_crc_table[4][low >> 24]
            ^ pn_crc_table[3][data[4]] ^ pn_crc_table[2][data[5]]
            ^ pn_crc_table[1][data[6]] ^ pn_crc_table[0][data[7]];
        data += 8;
        size -= 8;
    }
    return pn_crc_soft(crc, data, size);
}
#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("sse4.2")))
static uint32_t pn_crc_sse(uint32_t seed, const uint8_t *data, size_t size) {
    uint64_t crc = seed;
    while (size >= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        crc = __builtin_ia32_crc32di(crc, word);
        data += 8;
        size -= 8;
    }
    uint32_t low = (uint32_t)crc;
    while (size--)
        low = __builtin_ia32_crc32qi(low, *data++);
    return low;
}
static uint32_t pn_crc32c(uint32_t crc, const uint8_t *data, size_t size) {
    static int has_sse = -1;
    if (has_sse < 0)
        has_sse = __builtin_cpu_supports("sse4.2") != 0;
    return has_sse ? ~pn_crc_sse(~crc, data, size) : ~pn_crc_soft8(~crc, data, size);
}
#else
static uint32_t pn_crc32c(uint32_t crc, const uint8_t *data, size_t size) {
    return ~pn_crc_soft8(~crc, data, size);
}
#endif

static uint64_t pn_load(const uint8_t *at) {
    return __atomic_load_n((const uint64_t *)at, __ATOMIC_ACQUIRE);
}
static void pn_store(uint8_t *at, uint64_t value) {
    __atomic_store_n((uint64_t *)at, value, __ATOMIC_RELEASE);
}
/* Header once, ring twice in a row. NULL when the kernel refuses; errno says why. */
static uint8_t *pn_map(int fd, size_t header, size_t capacity) {
    uint8_t *base = mmap(NULL, header + 2 * capacity, PROT_NONE,
        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    int flags = MAP_SHARED | MAP_FIXED, access = PROT_READ | PROT_WRITE;
    if (mmap(base, header + capacity, access, flags, fd, 0) == MAP_FAILED
        || mmap(base + header + capacity, capacity, access, flags, fd,
            (off_t)header) == MAP_FAILED) {
        munmap(base, header + 2 * capacity);
        return NULL;
    }
    return base;
}
/* Take the page faults of the first lap now and not one by one under load. Only a hint: older
   kernels (before 5.14) refuse it. */
static void pn_populate(uint8_t *base, size_t size) {
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
    (void)madvise(base, size, MADV_POPULATE_WRITE);
}
static void pn_unmap(uint8_t *base, size_t header, size_t capacity) {
    munmap(base, header + 2 * capacity);
}

#endif
