/* progress.c - the bar: its text is a function of counts and time; drawing is apart. */
#include "progress.h"

#include <inttypes.h>
#include <stdio.h>

#include "base.h"
#include "os.h"
#include "os_terminal.h"

#define REDRAW_NS 100000000ull /* on a terminal at most ten times a second */
#define LINE_NS 30000000000ull /* elsewhere a line each half minute */

void apus_progress_time(char *out, size_t room, double seconds)
{
    const uint64_t whole = seconds > 0 && seconds < 1e9 ? (uint64_t)seconds : 0;
    const uint64_t hours = whole / 3600, minutes = whole / 60 % 60;

    if (hours)
        snprintf(out, room, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64, hours, minutes, whole % 60);
    else
        snprintf(out, room, "%02" PRIu64 ":%02" PRIu64, minutes, whole % 60);
}

/* "5/20 [00:10<00:30, 2.00 s/it] loss 2.31" */
static void counts_text(const apus_progress *p, uint64_t now_ns, char *out, size_t room)
{
    const double passed = (double)(now_ns - p->start_ns) * 1e-9;
    const uint64_t steps = p->done - p->first;
    const double each = steps ? passed / (double)steps : 0;
    char took[32], left[32] = "?";

    apus_progress_time(took, sizeof(took), passed);
    if (steps && p->total >= p->done)
        apus_progress_time(left, sizeof(left), each * (double)(p->total - p->done));
    if (!p->total)
        snprintf(out, room, "%" PRIu64 " [%s]%s%s", p->done, took, p->tail[0] ? " " : "", p->tail);
    else if (each >= 1 || !steps)
        snprintf(out, room, "%" PRIu64 "/%" PRIu64 " [%s<%s, %.2f s/it]%s%s", p->done, p->total,
                 took, left, each, p->tail[0] ? " " : "", p->tail);
    else
        snprintf(out, room, "%" PRIu64 "/%" PRIu64 " [%s<%s, %.2f it/s]%s%s", p->done, p->total,
                 took, left, each > 0 ? 1 / each : 0, p->tail[0] ? " " : "", p->tail);
}

size_t apus_progress_text(const apus_progress *p, uint64_t now_ns, size_t columns, char *out,
                          size_t room)
{
    char counts[256], bar[64] = "";
    size_t width = 0, filled;
    int n;

    counts_text(p, now_ns, counts, sizeof(counts));
    if (!p->total) {
        n = snprintf(out, room, "%s: %s", p->label, counts);
    } else {
        const size_t others = strlen(p->label) + strlen(counts) + 10;

        if (columns > others)
            width = columns - others < sizeof(bar) - 1 ? columns - others : sizeof(bar) - 1;
        filled = (size_t)((double)width * (double)p->done / (double)p->total);
        for (size_t i = 0; i < width; i++)
            bar[i] = i < filled ? '#' : ' ';
        n = snprintf(out, room, "%s: %3.0f%%|%s| %s", p->label,
                     100 * (double)p->done / (double)p->total, bar, counts);
    }
    if (n < 0)
        return 0;
    filled = (size_t)n < room ? (size_t)n : room - 1;
    if (filled >= columns)
        filled = columns - 1;
    out[filled] = '\0';
    return filled;
}

static void draw(apus_progress *p, uint64_t now_ns)
{
    char text[512];
    const size_t columns = apusi_terminal_columns(stderr);
    const size_t n =
        apus_progress_text(p, now_ns, columns < 500 ? columns : 500, text, sizeof(text));

    /* Spaces over what a longer bar left; the erase codes of terminals are not needed. */
    fprintf(stderr, "\r%s%*s", text, p->drawn > n ? (int)(p->drawn - n) : 0, "");
    fflush(stderr);
    p->drawn = n;
    p->drawn_ns = now_ns;
}

static void bar(void *user, bool show)
{
    apus_progress *p = user;

    if (!p->terminal)
        return;
    if (show) {
        draw(p, apus_now_ns());
    } else if (p->drawn) {
        fprintf(stderr, "\r%*s\r", (int)p->drawn, "");
        fflush(stderr);
        p->drawn = 0;
    }
}

void apus_progress_begin(apus_progress *p, const char *label, uint64_t done, uint64_t total)
{
    *p = (apus_progress) {
        .label = label,
        .done = done,
        .first = done,
        .total = total,
        .start_ns = apus_now_ns(),
        .terminal = apusi_is_terminal(stderr),
    };
    p->drawn_ns = p->start_ns;
    apusi_console_set_bar(bar, p);
    if (p->terminal)
        draw(p, p->start_ns);
}

static void plain_line(apus_progress *p, uint64_t now_ns)
{
    char counts[256];

    counts_text(p, now_ns, counts, sizeof(counts));
    fprintf(stderr, "%s: %s\n", p->label, counts);
    p->drawn_ns = now_ns;
}

void apus_progress_set(apus_progress *p, uint64_t done, const char *tail)
{
    const uint64_t now_ns = apus_now_ns();

    p->done = done;
    if (tail)
        snprintf(p->tail, sizeof(p->tail), "%s", tail);
    if (now_ns - p->drawn_ns < (p->terminal ? REDRAW_NS : LINE_NS))
        return;
    if (p->terminal)
        draw(p, now_ns);
    else
        plain_line(p, now_ns);
}

void apus_progress_end(apus_progress *p)
{
    if (!p->label)
        return;
    if (p->terminal) {
        draw(p, apus_now_ns());
        fputc('\n', stderr);
    } else {
        plain_line(p, apus_now_ns());
    }
    apusi_console_set_bar(NULL, NULL);
    p->label = NULL;
}
