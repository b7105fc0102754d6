/* json_scan.c - the grammar of JSON (RFC 8259), checked before cJSON builds the tree.
 *
 * cJSON takes what the grammar forbids: "01", control characters as blanks, "\uZZZZ" as NUL, bytes
 * that are no UTF-8.  It also forgets whether a number was written 1 or 1.0, and does not know the
 * NaN and Infinity that Python writes.  One pass here settles all of that and knows the place of an
 * error.  A byte order mark before the value is passed over. */
#include <cjson/cJSON.h>

#include "base_internal.h"

typedef enum want {
    WANT_VALUE,
    WANT_VALUE_OR_CLOSE, /* after [ */
    WANT_KEY,
    WANT_KEY_OR_CLOSE, /* after { */
    WANT_COLON,
    WANT_COMMA, /* or the end of the array or object */
    WANT_NOTHING
} want;

typedef struct scan {
    const char *text;
    size_t bytes, at;
    apusi_json_notes *notes;
    want want;
    size_t depth;
    bool in_object[CJSON_NESTING_LIMIT];
} scan;

static bool wrong(scan *s, size_t at, const char *what)
{
    s->notes->wrong = what;
    s->notes->wrong_at = at;
    return false;
}

/* The byte `ahead` of the place, or 0 behind the end. */
static unsigned char peek(const scan *s, size_t ahead)
{
    return s->at + ahead < s->bytes ? (unsigned char)s->text[s->at + ahead] : 0;
}

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

/* Four hexadecimal digits `ahead` of the place, or -1. */
static int32_t hex4(const scan *s, size_t ahead)
{
    int32_t value = 0;

    for (size_t i = 0; i < 4; i++) {
        const unsigned char c = peek(s, ahead + i);
        if (is_digit(c))
            value = value * 16 + (c - '0');
        else if ((c | 32) >= 'a' && (c | 32) <= 'f')
            value = value * 16 + ((c | 32) - 'a' + 10);
        else
            return -1;
    }
    return value;
}

static bool scan_escape(scan *s)
{
    const unsigned char c = peek(s, 1);

    if (c && strchr("\"\\/bfnrt", c)) {
        s->at += 2;
        return true;
    }
    if (c != 'u')
        return wrong(s, s->at, "unknown escape in a string");
    const int32_t code = hex4(s, 2);
    if (code < 0)
        return wrong(s, s->at, "\\u without four hexadecimal digits");
    if (code == 0)
        return wrong(s, s->at, "\\u0000 in a string is not supported");
    s->at += 6;
    if (code < 0xd800 || code > 0xdfff)
        return true;
    if (code > 0xdbff || peek(s, 0) != '\\' || peek(s, 1) != 'u' || (hex4(s, 2) & ~0x3ff) != 0xdc00)
        return wrong(s, s->at - 6, "half of a surrogate pair in a string");
    s->at += 6;
    return true;
}

/* One character of two to four bytes: shortest form, no surrogates, at most U+10FFFF. */
static bool scan_utf8(scan *s)
{
    const unsigned char c = peek(s, 0);
    const size_t n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    const unsigned char second = peek(s, 1);

    if (c < 0xc2 || c > 0xf4 || (c == 0xe0 && second < 0xa0) || (c == 0xed && second > 0x9f) ||
        (c == 0xf0 && second < 0x90) || (c == 0xf4 && second > 0x8f))
        return wrong(s, s->at, "invalid UTF-8");
    for (size_t i = 1; i < n; i++) {
        if ((peek(s, i) & 0xc0) != 0x80)
            return wrong(s, s->at, "invalid UTF-8");
    }
    s->at += n;
    return true;
}

static bool scan_string(scan *s)
{
    const size_t start = s->at++;

    while (s->at < s->bytes) {
        const unsigned char c = peek(s, 0);
        if (c == '"') {
            s->at++;
            return true;
        }
        if (c < 0x20)
            return wrong(s, s->at, "control character in a string");
        if (c < 0x80 && c != '\\')
            s->at++;
        else if (!(c == '\\' ? scan_escape(s) : scan_utf8(s)))
            return false;
    }
    return wrong(s, start, "string without an end");
}

static void skip_digits(scan *s)
{
    while (is_digit(peek(s, 0)))
        s->at++;
}

static void note_number(scan *s, char kind)
{
    apus_str_add_bytes(&s->notes->numbers, &kind, 1);
    s->notes->odd |= kind != 'i';
}

static bool scan_number(scan *s)
{
    const size_t start = s->at;
    char kind = 'i';

    s->at += peek(s, 0) == '-';
    if (!is_digit(peek(s, 0)))
        return wrong(s, start, "unexpected character");
    if (peek(s, 0) == '0' && is_digit(peek(s, 1)))
        return wrong(s, start, "number with a leading zero");
    skip_digits(s);
    if (peek(s, 0) == '.') {
        s->at++;
        kind = 'f';
        if (!is_digit(peek(s, 0)))
            return wrong(s, start, "number without digits after the point");
        skip_digits(s);
    }
    if ((peek(s, 0) | 32) == 'e') {
        s->at++;
        kind = 'f';
        s->at += peek(s, 0) == '+' || peek(s, 0) == '-';
        if (!is_digit(peek(s, 0)))
            return wrong(s, start, "number without digits in its exponent");
        skip_digits(s);
    }
    if (s->at - start > 62) /* the room of cJSON's own buffer */
        return wrong(s, start, "number of more than 62 characters");
    if (kind == 'i' && s->at - start > 15) { /* 10^15 < 2^53 */
        kind = 'b';
        apus_str_add_bytes(&s->notes->digits, s->text + start, s->at - start);
        apus_str_add_bytes(&s->notes->digits, "", 1);
    }
    note_number(s, kind);
    return true;
}

static bool take_word(scan *s, const char *word)
{
    const size_t n = strlen(word);

    if (s->bytes - s->at < n || memcmp(s->text + s->at, word, n) != 0)
        return false;
    s->at += n;
    return true;
}

/* A word of Python's that cJSON does not know: hide it behind a zero. */
static bool scan_special(scan *s)
{
    const size_t start = s->at;
    apus_str *patched = &s->notes->patched;
    char kind = 0;

    if (take_word(s, "NaN"))
        kind = 'n';
    else if (take_word(s, "Infinity"))
        kind = 'p';
    else if (take_word(s, "-Infinity"))
        kind = 'm';
    if (!kind)
        return false;
    if (!patched->len)
        apus_str_add_bytes(patched, s->text, s->bytes);
    if (!patched->failed) {
        memset(patched->data + start, ' ', s->at - start);
        patched->data[start] = '0';
    }
    note_number(s, kind);
    return true;
}

static bool open_nest(scan *s, bool object)
{
    if (s->depth == CJSON_NESTING_LIMIT)
        return wrong(s, s->at, "nested too deeply");
    s->in_object[s->depth++] = object;
    s->want = object ? WANT_KEY_OR_CLOSE : WANT_VALUE_OR_CLOSE;
    s->at++;
    return true;
}

static void end_value(scan *s)
{
    s->want = s->depth ? WANT_COMMA : WANT_NOTHING;
}

static bool scan_value(scan *s, unsigned char c)
{
    if (c == '{' || c == '[')
        return open_nest(s, c == '{');
    if (c == '"') {
        if (!scan_string(s))
            return false;
    } else if (!scan_special(s) && !take_word(s, "true") && !take_word(s, "false") &&
               !take_word(s, "null")) {
        if (!scan_number(s))
            return false;
    }
    end_value(s);
    return true;
}

/* The next token; `c` is its first byte. */
static bool scan_token(scan *s, unsigned char c)
{
    const bool in_object = s->depth && s->in_object[s->depth - 1];
    const bool may_close =
        s->want == WANT_COMMA || s->want == WANT_KEY_OR_CLOSE || s->want == WANT_VALUE_OR_CLOSE;

    if (may_close && c == (in_object ? '}' : ']')) {
        s->depth--;
        s->at++;
        end_value(s);
        return true;
    }
    switch (s->want) {
    case WANT_VALUE:
    case WANT_VALUE_OR_CLOSE:
        return scan_value(s, c);
    case WANT_KEY:
    case WANT_KEY_OR_CLOSE:
        if (c != '"')
            return wrong(s, s->at, "expected a key in double quotes");
        s->want = WANT_COLON;
        return scan_string(s);
    case WANT_COLON:
        if (c != ':')
            return wrong(s, s->at, "expected ':' after a key");
        s->want = WANT_VALUE;
        break;
    case WANT_COMMA:
        if (c != ',')
            return wrong(s, s->at, in_object ? "expected ',' or '}'" : "expected ',' or ']'");
        s->want = in_object ? WANT_KEY : WANT_VALUE;
        break;
    case WANT_NOTHING:
        return wrong(s, s->at, "unexpected text after the value");
    }
    s->at++;
    return true;
}

bool apusi_json_scan(apusi_json_notes *notes, const char *text, size_t bytes)
{
    scan s = { .text = text, .bytes = bytes, .notes = notes, .want = WANT_VALUE };

    *notes = (apusi_json_notes) { 0 };
    take_word(&s, "\xef\xbb\xbf");
    for (;;) {
        unsigned char c = peek(&s, 0);
        while (s.at < bytes && (c == ' ' || c == '\n' || c == '\t' || c == '\r')) {
            s.at++;
            c = peek(&s, 0);
        }
        if (s.at == bytes)
            break;
        if (!scan_token(&s, c))
            return false;
    }
    if (s.want != WANT_NOTHING)
        return wrong(&s, bytes, "the text ends too early");
    return !notes->numbers.failed && !notes->patched.failed && !notes->digits.failed;
}
