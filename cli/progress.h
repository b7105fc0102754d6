/* progress.h - how far a long work is, on stderr: a bar that redraws itself on a terminal, a plain
 * line now and then elsewhere. */
#ifndef APUS_CLI_PROGRESS_H
#define APUS_CLI_PROGRESS_H

#include "console.h"

typedef struct apus_progress {
    const char *label; /* borrowed: "Train" */
    uint64_t done;
    uint64_t total; /* 0: not known */
    uint64_t first; /* done at the start (a resumed run) */
    uint64_t start_ns;
    uint64_t drawn_ns; /* when a line was last written */
    size_t drawn;      /* columns of the bar on the screen */
    char tail[64];     /* what the caller wants beside it: "loss 2.31" */
    bool terminal;
} apus_progress;

/* Start; `done` is where a resumed work starts.  The bar belongs to the console until _end. */
void apus_progress_begin(apus_progress *p, const char *label, uint64_t done, uint64_t total);
/* `tail` NULL keeps the last one. */
void apus_progress_set(apus_progress *p, uint64_t done, const char *tail);
/* Draw the last state and leave it behind as a line.  Safe on {0}. */
void apus_progress_end(apus_progress *p);

/* The text of a bar for `columns` columns at `now_ns`:
 * "Train:  25%|#####          | 5/20 [00:10<00:30, 2.00 s/it] loss 2.31".  Returns its length. */
size_t apus_progress_text(const apus_progress *p, uint64_t now_ns, size_t columns, char *out,
                          size_t room);
/* "02:05", "1:02:05". */
void apus_progress_time(char *out, size_t room, double seconds);

#endif
