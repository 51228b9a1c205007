/* Byte classes of the text scanner: one look-up decides whether a detector may begin. */
#ifndef POSTERN_SCANCHARS_H
#define POSTERN_SCANCHARS_H

#include <stddef.h>
#include <stdint.h>

enum {
    PN_DIGIT = 1,
    PN_LETTER = 2,
    PN_WORD = 4,     /* letters, digits, _ and every byte of a multi-byte character */
    PN_LOCAL = 8,    /* of an e-mail's local part */
    PN_TOKEN = 16,   /* base64url */
    PN_HEX = 32,
    PN_START = 64,   /* a detector may begin here */
};

static const uint8_t pn_char_class[256] = {
    ['0' ... '9'] = PN_DIGIT | PN_WORD | PN_LOCAL | PN_TOKEN | PN_HEX | PN_START,
    ['A' ... 'F'] = PN_LETTER | PN_WORD | PN_LOCAL | PN_TOKEN | PN_HEX | PN_START,
    ['a' ... 'f'] = PN_LETTER | PN_WORD | PN_LOCAL | PN_TOKEN | PN_HEX | PN_START,
    ['G' ... 'Z'] = PN_LETTER | PN_WORD | PN_LOCAL | PN_TOKEN | PN_START,
    ['g' ... 'z'] = PN_LETTER | PN_WORD | PN_LOCAL | PN_TOKEN | PN_START,
    [0x80 ... 0xFF] = PN_WORD | PN_LOCAL,
    ['_'] = PN_WORD | PN_LOCAL | PN_TOKEN,
    ['-'] = PN_LOCAL | PN_TOKEN | PN_START,
    ['+'] = PN_LOCAL | PN_START,
    ['@'] = PN_START,
    ['('] = PN_START,
    [':'] = PN_START,
    /* RFC 5322 allows more; in notes and logs the rest stands between an address and a name. */
    ['.'] = PN_LOCAL, ['%'] = PN_LOCAL, ['\''] = PN_LOCAL, ['^'] = PN_LOCAL, ['~'] = PN_LOCAL,
};

/* What stands for a finding, in the order of scan.pxd's Finding. */
static const char *const pn_scan_words[8] = {
    "[card]", "[ssn]", "[mail]", "[phone]", "[iban]", "[jwt]", "[key]", "[ip]",
};
static const ptrdiff_t pn_scan_word_sizes[8] = {6, 5, 6, 7, 6, 5, 5, 4};

/* How issued keys begin, and how many characters must follow. */
typedef struct {
    const char *text;
    ptrdiff_t size;
    ptrdiff_t least;
} pn_key_prefix_t;

static const pn_key_prefix_t pn_key_prefixes[] = {
    {"AKIA", 4, 16},
    {"ASIA", 4, 16},
    {"AIza", 4, 30},
    {"ghp_", 4, 30},
    {"gho_", 4, 30},
    {"ghs_", 4, 30},
    {"ghu_", 4, 30},
    {"github_pat_", 11, 30},
    {"glpat-", 6, 16},
    {"xoxb-", 5, 16},
    {"xoxp-", 5, 16},
    {"xoxa-", 5, 16},
    {"xapp-", 5, 16},
    {"sk_live_", 8, 16},
    {"sk_test_", 8, 16},
    {"rk_live_", 8, 16},
    {"pk_live_", 8, 16},
    {"sk-", 3, 20},
    {"npm_", 4, 30},
    {"pypi-", 5, 30},
    {"dop_v1_", 7, 32},
    {"hf_", 3, 30},
    {"ya29.", 5, 20},
    {"SG.", 3, 20},
    {"AGE-SECRET-KEY-", 15, 30},
};
enum { PN_KEY_PREFIX_COUNT = sizeof pn_key_prefixes / sizeof *pn_key_prefixes };

static inline int pn_is(uint8_t c, int classes) {
    return (pn_char_class[c] & classes) != 0;
}

#endif
