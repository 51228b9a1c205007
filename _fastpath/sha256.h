/* SHA-256 (FIPS 180-4): the CPU's own instructions where it has them, plain C elsewhere.

   Here and not from a library because the chain hashes two short messages per record: a call
   through Python or an EVP context costs more than the hash. Both paths are held to hashlib. */
#ifndef POSTERN_SHA256_H
#define POSTERN_SHA256_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    uint32_t state[8];
    uint64_t size;
    uint8_t block[64];
} pn_sha256_t;

typedef void (*pn_sha256_blocks_t)(uint32_t *, const uint8_t *, size_t);

static const uint32_t pn_sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

#define PN_ROR(value, by) ((value) >> (by) | (value) << (32 - (by)))
/* One round; the caller turns the names instead of the values. */
#define PN_ROUND(a, b, c, d, e, f, g, h, t)                                              \
    do {                                                                                 \
        uint32_t one = h + (PN_ROR(e, 6) ^ PN_ROR(e, 11) ^ PN_ROR(e, 25))                \
            + (g ^ (e & (f ^ g))) + pn_sha256_k[t] + w[t];                               \
        d += one;                                                                        \
        h = one + (PN_ROR(a, 2) ^ PN_ROR(a, 13) ^ PN_ROR(a, 22)) + ((a & b) | (c & (a | b))); \
    } while (0)

static void pn_sha256_soft(uint32_t *state, const uint8_t *data, size_t blocks) {
    for (; blocks--; data += 64) {
        uint32_t w[64];
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
        uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
        for (int t = 0; t < 16; t++)
            w[t] = (uint32_t)data[4 * t] << 24 | (uint32_t)data[4 * t + 1] << 16
                | (uint32_t)data[4 * t + 2] << 8 | (uint32_t)data[4 * t + 3];
        for (int t = 16; t < 64; t++) {
            uint32_t x = w[t - 15], y = w[t - 2];
            w[t] = w[t - 16] + w[t - 7] + (PN_ROR(x, 7) ^ PN_ROR(x, 18) ^ x >> 3)
                + (PN_ROR(y, 17) ^ PN_ROR(y, 19) ^ y >> 10);
        }
        for (int t = 0; t < 64; t += 8) {
            PN_ROUND(a, b, c, d, e, f, g, h, t);
            PN_ROUND(h, a, b, c, d, e, f, g, t + 1);
            PN_ROUND(g, h, a, b, c, d, e, f, t + 2);
            PN_ROUND(f, g, h, a, b, c, d, e, t + 3);
            PN_ROUND(e, f, g, h, a, b, c, d, t + 4);
            PN_ROUND(d, e, f, g, h, a, b, c, t + 5);
            PN_ROUND(c, d, e, f, g, h, a, b, t + 6);
            PN_ROUND(b, c, d, e, f, g, h, a, t + 7);
        }
        state[0] += a, state[1] += b, state[2] += c, state[3] += d;
        state[4] += e, state[5] += f, state[6] += g, state[7] += h;
    }
}
#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#include <immintrin.h>

__attribute__((target("sha,sse4.1,ssse3")))
static void pn_sha256_ni(uint32_t *state, const uint8_t *data, size_t blocks) {
    const __m128i order = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state), 0xB1);
    __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(state + 4)), 0x1B);
    __m128i abef = _mm_alignr_epi8(cdab, efgh, 8), cdgh = _mm_blend_epi16(efgh, cdab, 0xF0);
    for (; blocks--; data += 64) {
        __m128i abef_before = abef, cdgh_before = cdgh, w[4];
        for (int i = 0; i < 4; i++)
            w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(data + 16 * i)), order);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            __m128i now = w[i & 3], last = w[(i + 3) & 3];
            __m128i sum = _mm_add_epi32(
                now, _mm_loadu_si128((const __m128i *)(pn_sha256_k + 4 * i)));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0E));
            if (i < 12) {
                now = _mm_sha256msg1_epu32(now, w[(i + 1) & 3]);
                now = _mm_add_epi32(now, _mm_alignr_epi8(last, w[(i + 2) & 3], 4));
                w[i & 3] = _mm_sha256msg2_epu32(now, last);
            }
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    __m128i feba = _mm_shuffle_epi32(abef, 0x1B), dchg = _mm_shuffle_epi32(cdgh, 0xB1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(feba, dchg, 0xF0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}
static pn_sha256_blocks_t pn_sha256_choose(void) {
    unsigned a, b = 0, c, d;
    int is_there = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & 1u << 29);
    return is_there && __builtin_cpu_supports("sse4.1") ? pn_sha256_ni : pn_sha256_soft;
}
#else
static pn_sha256_blocks_t pn_sha256_choose(void) {
    return pn_sha256_soft;
}
#endif

static pn_sha256_blocks_t pn_sha256_blocks = pn_sha256_soft;

static void pn_sha256_use(int portable) {
    static pn_sha256_blocks_t best;
    if (!best)
        best = pn_sha256_choose(); /* once: a virtual machine traps on cpuid */
    pn_sha256_blocks = portable ? pn_sha256_soft : best;
}
static void pn_sha256_begin(pn_sha256_t *hash) {
    static const uint32_t start[8] = {
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
    };
    memcpy(hash->state, start, sizeof start);
    hash->size = 0;
}
static void pn_sha256_add(pn_sha256_t *hash, const uint8_t *data, size_t size) {
    size_t held = hash->size & 63;
    hash->size += size;
    if (held) {
        size_t part = size < 64 - held ? size : 64 - held;
        memcpy(hash->block + held, data, part);
        if (held + part < 64)
            return;
        pn_sha256_blocks(hash->state, hash->block, 1);
        data += part;
        size -= part;
    }
    if (size >= 64)
        pn_sha256_blocks(hash->state, data, size / 64);
    memcpy(hash->block, data + (size & ~(size_t)63), size & 63);
}
static void pn_sha256_end(pn_sha256_t *hash, uint8_t *digest) {
    size_t held = hash->size & 63;
    uint64_t bits = hash->size * 8;
    hash->block[held++] = 0x80;
    if (held > 56) {
        memset(hash->block + held, 0, 64 - held);
        pn_sha256_blocks(hash->state, hash->block, 1);
        held = 0;
    }
    memset(hash->block + held, 0, 56 - held);
    for (int i = 0; i < 8; i++)
        hash->block[56 + i] = (uint8_t)(bits >> (56 - 8 * i));
    pn_sha256_blocks(hash->state, hash->block, 1);
    for (int i = 0; i < 8; i++) {
        digest[4 * i] = (uint8_t)(hash->state[i] >> 24);
        digest[4 * i + 1] = (uint8_t)(hash->state[i] >> 16);
        digest[4 * i + 2] = (uint8_t)(hash->state[i] >> 8);
        digest[4 * i + 3] = (uint8_t)hash->state[i];
    }
}

#endif
