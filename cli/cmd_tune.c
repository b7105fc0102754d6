/* cmd_tune.c - `apus tune`: measure algorithms and tiles at the shapes of a model. */
#include <stdio.h>

#include "apus/tuning.h"
#include "args.h"
#include "base.h"
#include "options.h"
#include "os_interrupt.h"
#include "progress.h"
#include "str.h"

typedef struct run {
    apus_progress bar;
    const char *part; /* that the bar is of; NULL: there is none yet */
    apus_str table;   /* printed in the end, when the bar is gone */
} run;

static void progress(void *user, const char *part, uint32_t done, uint32_t total,
                     const char *problem)
{
    run *r = user;
    char tail[sizeof(r->bar.tail)];

    if (r->part != part) {
        apus_progress_end(&r->bar);
        r->part = part;
        apus_log(APUS_LOG_INFO, "%s: %u choices to measure besides the defaults", part, total);
        apus_progress_begin(&r->bar, "Tune", done, total);
    }
    snprintf(tail, sizeof(tail), "%s", problem);
    apus_progress_set(&r->bar, done, tail);
}

/* "412.3 us" */
static void time_text(char *out, size_t room, double seconds)
{
    if (seconds <= 0)
        snprintf(out, room, "-");
    else if (seconds < 1e-3)
        snprintf(out, room, "%.1f us", seconds * 1e6);
    else
        snprintf(out, room, "%.2f ms", seconds * 1e3);
}

static void row(void *user, const apus_tuning_row *x)
{
    run *r = user;
    char before[32], after[32], gain[32] = "-", problem[96];

    time_text(before, sizeof(before), x->or_else_seconds);
    time_text(after, sizeof(after), x->seconds);
    if (x->seconds > 0)
        snprintf(gain, sizeof(gain), "%.2f x", x->or_else_seconds / x->seconds);
    snprintf(problem, sizeof(problem), "%s%s", x->problem,
             x->bits == 8    ? ", 8 bits"
             : x->bits == 16 ? ", 16 bits"
                             : "");
    apus_str_addf(&r->table, "%-52s %-18s %10s   %-18s %10s %8s\n", problem, x->or_else, before,
                  x->seconds > 0 ? x->choice : "not measured", after, gain);
}

static void tell(const run *r, const apus_tuning_result *result)
{
    if (r->table.len)
        printf("%-52s %-18s %10s   %-18s %10s %8s\n%s", "problem", "default", "", "best", "",
               "gain", r->table.data);
    if (!result->path[0])
        return;
    printf("%u of %u problems measured, %u faster than by default\n", result->measured,
           result->problems, result->faster);
    printf("%s: %u problems (%016llx)\n", result->path, result->rows,
           (unsigned long long)result->hash);
}

apus_status apus_cmd_tune(apus_args *args)
{
    apus_tune_options o;
    apus_cancel cancel = { 0 };
    apus_tuning_result result = { 0 };
    run r = { 0 };
    apus_status st;

    APUS_FORWARD(apus_tune_options_read(&o, args));
    apusi_interrupt_catch(&cancel);
    st = apus_tuning_run(&(apus_tuning_params) { .model = o.model,
                                                 .shapes = o.shapes.items,
                                                 .n_shapes = o.shapes.n,
                                                 .device = o.device,
                                                 .torch_dtype = o.torch_dtype,
                                                 .prompt = o.n_prompt,
                                                 .train = o.train_tokens,
                                                 .rank = o.lora_rank,
                                                 .seconds = o.seconds,
                                                 .path = o.result_path,
                                                 .cancel = &cancel,
                                                 .progress = progress,
                                                 .row = row,
                                                 .user = &r },
                         &result);
    apus_progress_end(&r.bar);
    apusi_interrupt_leave();
    tell(&r, &result);
    if (fflush(stdout) != 0 && st == APUS_OK)
        st = apus_fail(APUS_ERR_IO, "tune: the text could not be written");
    apus_str_release(&r.table);
    return st;
}
