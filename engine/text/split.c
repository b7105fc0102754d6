/* split.c - cutting patterns: from the dialect that tokenizer files are written in (Oniguruma with
 * Ruby syntax) to PCRE2, with what the two read differently rewritten or refused:
 *
 *   \s \S      PCRE2 adds U+180E: a class of the Unicode property White_Space instead
 *   \p{Han}    PCRE2 10.40 and later reads script extensions: \p{sc:Han} instead
 *   \uXXXX     \x{XXXX}
 *   \h \H      hexadecimal digits there, spaces here: refused
 *   [a[b]] &&  nested classes and intersections: refused
 */
#include "text_internal.h"

#define SPACE                                                                                      \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}"             \
    "\\x{202f}\\x{205f}\\x{3000}"

const char apusi_gpt2_pattern[] =
    "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static const char *const scripts[] = {
    "Han",    "Hiragana", "Katakana", "Hangul", "Latin",   "Cyrillic", "Greek",      "Arabic",
    "Hebrew", "Thai",     "Lao",      "Khmer",  "Myanmar", "Tibetan",  "Devanagari",
};

static apus_status refuse(const apus_tokenizer *t, const char *what, const char *pattern)
{
    return apus_fail(APUS_ERR_SUPPORT, "%s: %s in the pattern '%.200s' is not supported yet",
                     t->where, what, pattern);
}

/* One escape at p ("\s…") into *out; returns the characters used, 0 if it is refused. */
static size_t escape(apus_str *out, const char *p, bool in_class, const char **why)
{
    switch (p[1]) {
    case 's':
        apus_str_addf(out, in_class ? "%s" : "[%s]", SPACE);
        return 2;
    case 'S':
        *why = "\\S inside a class";
        if (in_class)
            return 0;
        apus_str_addf(out, "[^%s]", SPACE);
        return 2;
    case 'h':
    case 'H':
        *why = "\\h";
        return 0;
    case 'u':
        *why = "a short \\u";
        for (size_t i = 2; i < 6; i++)
            if (!strchr("0123456789abcdefABCDEF", p[i]) || !p[i])
                return 0;
        apus_str_addf(out, "\\x{%.4s}", p + 2);
        return 6;
    case 'p':
    case 'P':
        for (size_t i = 0; p[2] == '{' && i < APUS_COUNT(scripts); i++) {
            const size_t n = strlen(scripts[i]);

            if (!strncmp(p + 3, scripts[i], n) && p[3 + n] == '}') {
                apus_str_addf(out, "\\%c{sc:%s}", p[1], scripts[i]);
                return n + 4;
            }
        }
        break;
    default:
        break;
    }
    *why = "a lone \\";
    if (!p[1])
        return 0;
    apus_str_add_bytes(out, p, 2);
    return 2;
}

static apus_status translate(const apus_tokenizer *t, apus_str *out, const char *pattern)
{
    bool in_class = false;

    for (const char *p = pattern; *p;) {
        const char *why = NULL;

        if (*p == '\\') {
            const size_t used = escape(out, p, in_class, &why);
            if (!used)
                return refuse(t, why, pattern);
            p += used;
            continue;
        }
        if (in_class && *p == '[' && p[1] != ':')
            return refuse(t, "a nested class", pattern);
        if (in_class && p[0] == '&' && p[1] == '&')
            return refuse(t, "an intersection of classes", pattern);
        if (in_class && p[0] == '[') { /* [:name:] */
            const char *end = strstr(p, ":]");
            if (!end)
                return refuse(t, "an open class", pattern);
            apus_str_add_bytes(out, p, (size_t)(end - p) + 2);
            p = end + 2;
            continue;
        }
        if (*p == '[') {
            in_class = true;
            apus_str_add_bytes(out, p++, 1);
            if (*p == '^')
                apus_str_add_bytes(out, p++, 1);
            if (*p == ']') {
                apus_str_add(out, "\\]");
                p++;
            }
            continue;
        }
        if (*p == ']')
            in_class = false;
        apus_str_add_bytes(out, p++, 1);
    }
    return out->failed ? APUS_ERR_MEMORY : APUS_OK;
}

static apus_status quote(apus_str *out, const char *literal)
{
    for (const char *p = literal; *p; p++) {
        if ((uint8_t)*p < 0x80 && strchr("\\^$.[]|()?*+{}-#&~ ", *p))
            apus_str_add(out, "\\");
        apus_str_add_bytes(out, p, 1);
    }
    return out->failed ? APUS_ERR_MEMORY : APUS_OK;
}

/* The next free step, or NULL with the failure described. */
static apusi_step *next_step(apus_tokenizer *t)
{
    if (t->n_steps < APUSI_MOST_STEPS)
        return &t->steps[t->n_steps];
    apus_fail(APUS_ERR_SUPPORT, "%s: more than %d pre-tokenizer steps are not supported yet",
              t->where, APUSI_MOST_STEPS);
    return NULL;
}

apus_status apusi_add_split(apus_tokenizer *t, const char *pattern, bool literal,
                            apusi_behavior behavior, bool invert)
{
    apus_status st;
    apus_str text = { 0 };
    apusi_step *step = next_step(t);
    int error;
    PCRE2_SIZE at;

    if (!step)
        return APUS_ERR_SUPPORT;
    APUS_TRY(literal ? quote(&text, pattern) : translate(t, &text, pattern));
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)(text.data ? text.data : ""), text.len,
                                     PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error, &at, NULL);
    if (!code) {
        PCRE2_UCHAR words[120];

        pcre2_get_error_message(error, words, sizeof(words));
        st = apus_fail(APUS_ERR_SUPPORT, "%s: the pattern '%.200s' cannot be used: %s", t->where,
                       pattern, (const char *)words);
        goto fail;
    }
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE); /* without a JIT, the interpreter runs */
    *step = (apusi_step) { code, behavior, invert };
    t->n_steps++;

fail:
    apus_str_release(&text);
    return st;
}

apus_status apusi_add_prefix_space(apus_tokenizer *t)
{
    apusi_step *step = next_step(t);

    if (!step)
        return APUS_ERR_SUPPORT;
    *step = (apusi_step) { NULL, APUSI_ISOLATED, false };
    t->n_steps++;
    return APUS_OK;
}
