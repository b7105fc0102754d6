/* utf8.c - UTF-8 as the Unicode standard's table 3-7 has it: no overlong forms, no surrogates. */
#include <utf8proc.h>

#include "text_internal.h"

/* Range of the second byte, and the number of bytes, by the first byte. */
static int lead(uint8_t b, uint8_t *low, uint8_t *high)
{
    *low = 0x80;
    *high = 0xbf;
    if (b >= 0xc2 && b <= 0xdf)
        return 2;
    if (b >= 0xe0 && b <= 0xef) {
        if (b == 0xe0)
            *low = 0xa0;
        if (b == 0xed)
            *high = 0x9f;
        return 3;
    }
    if (b >= 0xf0 && b <= 0xf4) {
        if (b == 0xf0)
            *low = 0x90;
        if (b == 0xf4)
            *high = 0x8f;
        return 4;
    }
    return 0;
}

int apusi_utf8_step(const char *text, size_t n, uint32_t *cp)
{
    const uint8_t *p = (const uint8_t *)text;
    uint8_t low, high;

    if (p[0] < 0x80) {
        *cp = p[0];
        return 1;
    }
    const int length = lead(p[0], &low, &high);
    if (!length)
        return -1;
    uint32_t value = p[0] & (0xffu >> (length + 1));
    for (int i = 1; i < length; i++) {
        if ((size_t)i == n)
            return 0;
        if (p[i] < low || p[i] > high)
            return -i;
        low = 0x80;
        high = 0xbf;
        value = value << 6 | (p[i] & 0x3fu);
    }
    *cp = value;
    return length;
}

bool apusi_utf8_valid(const char *text, size_t n)
{
    size_t i = 0;

    while (i < n) {
        uint64_t eight;

        if (n - i >= 8) {
            memcpy(&eight, text + i, 8);
            if (!(eight & 0x8080808080808080ull)) {
                i += 8;
                continue;
            }
        }
        uint32_t cp;
        const int step = apusi_utf8_step(text + i, n - i, &cp);
        if (step <= 0)
            return false;
        i += (size_t)step;
    }
    return true;
}

size_t apusi_utf8_lossy(apus_str *out, const char *text, size_t n, bool final)
{
    size_t i = 0, done = 0;

    while (i < n) {
        uint32_t cp;
        const int step = apusi_utf8_step(text + i, n - i, &cp);

        if (step > 0) {
            i += (size_t)step;
            continue;
        }
        apus_str_add_bytes(out, text + done, i - done);
        if (step == 0 && !final)
            return i;
        apusi_utf8_add(out, 0xfffd);
        i = step == 0 ? n : i + (size_t)-step;
        done = i;
    }
    apus_str_add_bytes(out, text + done, n - done);
    return n;
}

void apusi_utf8_add(apus_str *out, uint32_t cp)
{
    utf8proc_uint8_t bytes[4];
    const utf8proc_ssize_t n = utf8proc_encode_char((utf8proc_int32_t)cp, bytes);

    apus_str_add_bytes(out, bytes, (size_t)n);
}

bool apusi_is_space(uint32_t cp)
{
    return (cp >= 9 && cp <= 13) || cp == 0x20 || cp == 0x85 || cp == 0xa0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 || cp == 0x202f ||
           cp == 0x205f || cp == 0x3000;
}

size_t apusi_blank_start(const char *text, size_t n)
{
    size_t at = 0;

    while (at < n) {
        uint32_t cp;
        const int step = apusi_utf8_step(text + at, n - at, &cp);

        if (step <= 0 || !apusi_is_space(cp))
            break;
        at += (size_t)step;
    }
    return at;
}

bool apusi_is_word(uint32_t cp)
{
    switch (utf8proc_category((utf8proc_int32_t)cp)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default:
        return cp == 0x200c || cp == 0x200d;
    }
}
