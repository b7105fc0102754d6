/* chart.c - axes and lines of a curve in SVG.  Colours come from the page's style sheet. */
#include "chart.h"

#include <math.h>
#include <stdio.h>

#include "plots.h"

#define WIDTH 720.0
#define HEIGHT 300.0
#define LEFT 64.0
#define RIGHT 16.0
#define TOP 12.0
#define BOTTOM 32.0

void apusi_html_add(apus_str *page, const char *text)
{
    for (const char *p = text; *p; p++) {
        const unsigned char c = (unsigned char)*p;
        if (c == '&')
            apus_str_add(page, "&amp;");
        else if (c == '<')
            apus_str_add(page, "&lt;");
        else if (c == '>')
            apus_str_add(page, "&gt;");
        else if (c == '"')
            apus_str_add(page, "&quot;");
        else if (c == '\'')
            apus_str_add(page, "&#39;");
        else if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
            apus_str_add(page, "\xef\xbf\xbd");
        else
            apus_str_add_bytes(page, p, 1);
    }
}

/* One axis: the range of its values and the distance of its round numbers. */
typedef struct axis {
    double least, most, step;
} axis;

static axis axis_of(const double *values, const double *finite_by, size_t n)
{
    axis a = { 0.0, 0.0, 1.0 };
    bool any = false;

    for (size_t i = 0; i < n; i++) {
        if (!isfinite(values[i]) || !isfinite(finite_by[i]))
            continue;
        a.least = !any || values[i] < a.least ? values[i] : a.least;
        a.most = !any || values[i] > a.most ? values[i] : a.most;
        any = true;
    }
    if (!(a.most - a.least > 1e-300)) {
        const double around = fabs(a.least) > 0.0 ? fabs(a.least) * 0.1 : 1.0;
        a.least -= around;
        a.most += around;
    }
    /* 1, 2 or 5 times a power of ten, about five of them. */
    const double raw = (a.most - a.least) / 5.0, power = pow(10.0, floor(log10(raw)));
    const double part = raw / power;
    a.step = power * (part <= 1.0 ? 1.0 : part <= 2.0 ? 2.0 : part <= 5.0 ? 5.0 : 10.0);
    return a;
}

static double place_x(const axis *a, double x)
{
    return LEFT + (x - a->least) / (a->most - a->least) * (WIDTH - LEFT - RIGHT);
}

static double place_y(const axis *a, double y)
{
    return HEIGHT - BOTTOM - (y - a->least) / (a->most - a->least) * (HEIGHT - TOP - BOTTOM);
}

static void add_axes(apus_str *page, const axis *x, const axis *y)
{
    for (int i = 0; i < 12; i++) {
        const double at = (ceil(y->least / y->step) + i) * y->step;
        if (at > y->most)
            break;
        apus_str_addf(page, "<line class='grid' x1='%.0f' x2='%.0f' y1='%.1f' y2='%.1f'/>", LEFT,
                      WIDTH - RIGHT, place_y(y, at), place_y(y, at));
        apus_str_addf(page, "<text x='%.0f' y='%.1f' text-anchor='end'>%.4g</text>", LEFT - 8.0,
                      place_y(y, at) + 4.0, fabs(at) < y->step * 1e-9 ? 0.0 : at);
    }
    for (int i = 0; i < 12; i++) {
        const double at = (ceil(x->least / x->step) + i) * x->step;
        if (at > x->most)
            break;
        apus_str_addf(page, "<text x='%.1f' y='%.0f' text-anchor='middle'>%.6g</text>",
                      place_x(x, at), HEIGHT - 10.0, fabs(at) < x->step * 1e-9 ? 0.0 : at);
    }
}

static size_t add_line(apus_str *page, const apus_curve *curve, const double *values,
                       const char *style, const axis *x, const axis *y)
{
    size_t points = 0;

    apus_str_addf(page, "<polyline class='%s' points='", style);
    for (size_t i = 0; i < curve->n; i++) {
        if (!isfinite(values[i]) || !isfinite(curve->steps[i]))
            continue;
        apus_str_addf(page, "%s%.1f,%.1f", points++ ? " " : "", place_x(x, curve->steps[i]),
                      place_y(y, values[i]));
    }
    apus_str_add(page, "'/>");
    return points;
}

void apusi_chart_add(apus_str *page, const apus_curve *curve, bool smooth)
{
    const axis x = axis_of(curve->steps, curve->values, curve->n);
    const axis y = axis_of(curve->values, curve->steps, curve->n);
    const size_t start = page->len;
    double *smoothed;
    size_t points;

    apus_str_addf(page, "<svg viewBox='0 0 %.0f %.0f' role='img' aria-label='", WIDTH, HEIGHT);
    apusi_html_add(page, curve->tag);
    apus_str_add(page, "'>");
    add_axes(page, &x, &y);
    points = add_line(page, curve, curve->values, smooth ? "raw" : "line", &x, &y);
    smoothed = smooth ? apus_calloc(curve->n ? curve->n : 1, sizeof(*smoothed)) : NULL;
    if (smooth && !smoothed)
        page->failed = true;
    if (smoothed) {
        apus_curve_smooth(smoothed, curve->values, curve->n, APUS_CURVE_WEIGHT);
        add_line(page, curve, smoothed, "line", &x, &y);
    }
    apus_free(smoothed);
    if (points == 1) {
        for (size_t i = 0; i < curve->n; i++) {
            if (isfinite(curve->values[i]))
                apus_str_addf(page, "<circle class='dot' cx='%.1f' cy='%.1f' r='4'/>",
                              place_x(&x, curve->steps[i]), place_y(&y, curve->values[i]));
        }
    }
    apus_str_add(page, "</svg>");
    if (points == 0 && !page->failed) {
        page->len = start;
        page->data[start] = 0;
        apus_str_add(page, "<p>Nothing was logged.</p>");
    }
}
