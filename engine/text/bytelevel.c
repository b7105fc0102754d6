/* bytelevel.c - byte-level pieces: GPT-2 spells each byte as one printable character, so that a
 * vocabulary of bytes can be written as text.  Printable bytes of Latin-1 stand for themselves; the
 * other 68 are U+0100 and up, in order of the byte.
 * Radford et al., Language models are unsupervised multitask learners, 2019, section 2.2. */
#include "text_internal.h"

static bool is_itself(uint32_t b)
{
    return (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || (b >= 0xae && b <= 0xff);
}

/* The bytes that do not stand for themselves, in order: 0..0x20, 0x7f..0xa0, 0xad. */
uint32_t apusi_byte_char(uint8_t byte)
{
    if (is_itself(byte))
        return byte;
    if (byte <= 0x20)
        return 0x100u + byte;
    if (byte <= 0xa0)
        return 0x121u + (byte - 0x7fu);
    return 0x143u;
}

bool apusi_char_byte(uint32_t cp, uint8_t *byte)
{
    if (cp < 0x100) {
        *byte = (uint8_t)cp;
        return is_itself(cp);
    }
    if (cp <= 0x120)
        *byte = (uint8_t)(cp - 0x100);
    else if (cp <= 0x142)
        *byte = (uint8_t)(cp - 0x121 + 0x7f);
    else if (cp == 0x143)
        *byte = 0xad;
    else
        return false;
    return true;
}

void apusi_byte_spell(apus_str *out, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        apusi_utf8_add(out, apusi_byte_char((uint8_t)bytes[i]));
}

void apusi_piece_bytes(apus_str *out, const char *piece, size_t n)
{
    const size_t before = out->len;

    for (size_t i = 0; i < n && !out->failed;) {
        uint32_t cp;
        uint8_t byte;
        const int step = apusi_utf8_step(piece + i, n - i, &cp);

        if (step <= 0 || !apusi_char_byte(cp, &byte)) {
            out->len = before;
            apus_str_add_bytes(out, piece, n);
            return;
        }
        apus_str_add_bytes(out, &byte, 1);
        i += (size_t)step;
    }
}
