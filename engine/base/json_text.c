/* json_text.c - values as Python's json.dumps(ensure_ascii=False) writes them, byte for byte. */
#include <math.h>
#include <stdio.h>

#include "base_internal.h"
#include "json.h"

static void add_string(apus_str *s, const char *text)
{
    apus_str_add(s, "\"");
    for (const char *p = text;; p++) {
        const size_t plain = strcspn(p, "\"\\\n\r\t\b\f\x01\x02\x03\x04\x05\x06\x07\x0b\x0e\x0f"
                                        "\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d"
                                        "\x1e\x1f");
        static const char named[] = "\"\\\n\r\t\b\f";
        static const char letters[] = "\"\\nrtbf";
        apus_str_add_bytes(s, p, plain);
        p += plain;
        if (!*p)
            break;
        const char *at = strchr(named, *p);
        if (at)
            apus_str_addf(s, "\\%c", letters[at - named]);
        else
            apus_str_addf(s, "\\u%04x", (unsigned)*p);
    }
    apus_str_add(s, "\"");
}

/* Digits without trailing zeros, and the power of ten of the first one. */
typedef struct decimal {
    char digits[20];
    size_t n;
    int power;
} decimal;

/* Add one to the last digit before the exponent `e`.  Sixteen nines give a text that reads as no
 * number, and no power of two begins with them. */
static void bump(char *text, char *e)
{
    char *p = e - 1;

    for (; p > text; p--) {
        if (*p == '9')
            *p = '0';
        else if (*p >= '0' && *p < '9')
            break;
    }
    ++*p;
}

/* `n` significant digits of a finite value >= 0; true if they read back as the value. */
static bool to_decimal(decimal *d, double value, int n)
{
    char text[40];

    snprintf(text, sizeof text, "%.*e", n - 1, value); /* d.ddde-05; the point may be a comma */
    char *e = strchr(text, 'e');
    bool same = strtod(text, NULL) == value;
    if (!same && n == 16) {
        /* Above a power of two the floats lie twice as far apart as below it, so that the 16 digits
         * just above may read back where the nearest ones, below, do not. */
        bump(text, e);
        same = strtod(text, NULL) == value;
    }
    d->power = (int)strtol(e + 1, NULL, 10);
    d->n = 0;
    for (const char *p = text; p < e; p++) {
        if (*p >= '0' && *p <= '9')
            d->digits[d->n++] = *p;
    }
    while (d->n > 1 && d->digits[d->n - 1] == '0')
        d->n--;
    return same;
}

/* The shortest digits that read back as the same number, laid out by the rule of Python's repr: an
 * exponent where the power of ten is below -4 or above 15. */
static void add_float(apus_str *s, double value)
{
    static const char zeros[] = "0000000000000000";
    decimal d;

    if (isnan(value)) {
        apus_str_add(s, "NaN");
        return;
    }
    if (signbit(value))
        apus_str_add(s, "-");
    value = fabs(value);
    if (isinf(value)) {
        apus_str_add(s, "Infinity");
        return;
    }
    /* 15 digits always survive, so that fewer need a try only where the precision itself ends. */
    int n = value < 0x1p-1022 ? 1 : 15;
    while (!to_decimal(&d, value, n) && n < 17)
        n++;
    if (d.power < -4 || d.power > 15) {
        apus_str_add_bytes(s, d.digits, 1);
        if (d.n > 1) {
            apus_str_add(s, ".");
            apus_str_add_bytes(s, d.digits + 1, d.n - 1);
        }
        apus_str_addf(s, "e%c%02d", d.power < 0 ? '-' : '+', abs(d.power));
    } else if (d.power < 0) {
        apus_str_addf(s, "0.%.*s%.*s", -d.power - 1, zeros, (int)d.n, d.digits);
    } else {
        const size_t whole = (size_t)d.power + 1;
        const size_t have = d.n < whole ? d.n : whole;
        apus_str_add_bytes(s, d.digits, have);
        apus_str_add_bytes(s, zeros, whole - have);
        apus_str_add(s, ".");
        apus_str_add_bytes(s, d.n > whole ? d.digits + whole : "0", d.n > whole ? d.n - whole : 1);
    }
}

static void add_number(apus_str *s, const cJSON *value)
{
    const double x = value->valuedouble;

    /* The digits of a large integer, unless the value was changed since it was read. */
    if (value->valuestring && strtod(value->valuestring, NULL) == x)
        apus_str_add(s, value->valuestring);
    else if ((value->type & APUSI_JSON_FLOAT) || x != floor(x) || isinf(x))
        add_float(s, x);
    else
        apus_str_addf(s, "%.0f", x == 0.0 ? 0.0 : x);
}

static void new_line(apus_str *s, int indent, int depth)
{
    if (indent > 0)
        apus_str_addf(s, "\n%*s", indent * depth, "");
}

/* Recursion is as deep as the value: at most CJSON_NESTING_LIMIT for what was parsed. */
static void add_value(apus_str *s, const cJSON *value, int indent, int depth)
{
    switch (value->type & 0xff) {
    case cJSON_False:
        apus_str_add(s, "false");
        return;
    case cJSON_True:
        apus_str_add(s, "true");
        return;
    case cJSON_Number:
        add_number(s, value);
        return;
    case cJSON_String:
        add_string(s, value->valuestring);
        return;
    case cJSON_Raw:
        apus_str_add(s, value->valuestring);
        return;
    case cJSON_Array:
    case cJSON_Object:
        break;
    default:
        apus_str_add(s, "null");
        return;
    }
    const bool object = cJSON_IsObject(value);
    apus_str_add(s, object ? "{" : "[");
    for (const cJSON *item = value->child; item; item = item->next) {
        new_line(s, indent, depth + 1);
        if (object) {
            add_string(s, item->string);
            apus_str_add(s, ": ");
        }
        add_value(s, item, indent, depth + 1);
        if (item->next)
            apus_str_add(s, indent > 0 ? "," : ", ");
    }
    if (value->child)
        new_line(s, indent, depth);
    apus_str_add(s, object ? "}" : "]");
}

char *apus_json_text(const cJSON *value, int indent)
{
    apus_str s = { 0 };

    add_value(&s, value, indent, 0);
    if (!s.failed)
        return s.data;
    apus_str_release(&s);
    return NULL;
}
