/* peak.c - what a device reaches at most: copies and multiply-adds by small kernels. */
#include "args/peak.h"

#include "apus/bench.h"
#include "bench_internal.h"
#include "os.h"

enum { LOCAL = 64, ROW = 1024, REPEAT = 4 };

typedef struct work {
    struct apus_peak_push push;
    uint64_t threads;
    const apus_buffer *from, *to; /* set: the device's own copy in place of the kernel */
} work;

static apus_status record(apus_commands *c, const work *w)
{
    const uint32_t groups[3] = { ROW, (uint32_t)apus_ceil_div(w->threads, (uint64_t)LOCAL * ROW),
                                 1 };
    const apus_kernel_key key = { .name = "peak", .n_spec = 1, .spec = { LOCAL } };

    APUS_FORWARD(apus_commands_begin(c));
    if (w->from)
        apus_commands_copy(c, w->from, 0, w->to, 0, w->from->bytes);
    else
        APUS_FORWARD(apus_commands_dispatch(c, &key, &w->push, sizeof(w->push), groups));
    return apus_commands_end(c);
}

/* The best of some runs, in seconds. */
static apus_status time_work(apus_gpu *gpu, const work *w, double *seconds)
{
    apus_commands *c = NULL;
    apus_status st;

    *seconds = 1e30;
    APUS_TRY(apus_commands_create(gpu, &c));
    APUS_TRY(record(c, w));
    for (int i = 0; i <= REPEAT; i++) {
        const uint64_t start = apus_now_ns();
        uint64_t ticket;
        double took;

        APUS_TRY(apus_gpu_submit(gpu, &c, 1, &ticket));
        APUS_TRY(apus_gpu_wait(gpu, ticket, 0));
        took = (double)(apus_now_ns() - start) * 1e-9;
        if (i && took < *seconds) /* the first is a warm-up */
            *seconds = took;
    }
fail:
    apus_commands_destroy(&c);
    return st;
}

/* Twice the loops until the work is long enough to be timed, but far from a watchdog's limit. */
static apus_status measure_fma(apus_gpu *gpu, const apus_buffer *y, bool cpu, double *flops_s)
{
    const uint32_t threads = cpu ? LOCAL * ROW : LOCAL * ROW * 8;
    work w = { .threads = threads };
    double seconds;

    w.push = (struct apus_peak_push) {
        .x = y->address, .y = y->address, .n = threads, .loops = 1, .a = 0.9999f, .b = 0.0001f
    };
    for (;; w.push.loops *= 2) {
        APUS_FORWARD(time_work(gpu, &w, &seconds));
        if (seconds > 0.05 || w.push.loops >= 512)
            break;
    }
    *flops_s = 1024.0 * w.push.loops * threads / seconds;
    return APUS_OK;
}

/* The faster of a kernel's copy and the device's own. */
static apus_status measure_copy(apus_gpu *gpu, const apus_buffer *x, const apus_buffer *y,
                                double *bytes_s)
{
    work w = { .threads = x->bytes / 64 };
    double kernel, own;

    w.push = (struct apus_peak_push) { .x = x->address,
                                       .y = y->address,
                                       .n = (uint32_t)(x->bytes / 16) };
    APUS_FORWARD(time_work(gpu, &w, &kernel));
    w.from = x;
    w.to = y;
    APUS_FORWARD(time_work(gpu, &w, &own));
    *bytes_s = 2.0 * (double)x->bytes / (kernel < own ? kernel : own);
    return APUS_OK;
}

apus_status apus_bench_measure_peaks(apus_bench *b, apus_bench_peaks *out)
{
    apus_gpu *gpu = b->model->gpu;
    const bool cpu = apus_gpu_caps(gpu)->device_class == APUS_CLASS_CPU;
    const uint64_t bytes = cpu ? 64ull << 20 : 256ull << 20;
    apus_buffer x = { 0 }, y = { 0 };
    apus_status st;

    *out = (apus_bench_peaks) { 0 };
    APUS_TRY(apus_buffer_create(gpu, &x, bytes, APUS_MEMORY_DEVICE, "peak x"));
    APUS_TRY(apus_buffer_create(gpu, &y, bytes, APUS_MEMORY_DEVICE, "peak y"));
    APUS_TRY(measure_copy(gpu, &x, &y, &out->copy_bytes_s));
    APUS_TRY(measure_fma(gpu, &y, cpu, &out->fma_flops_s));
fail:
    apus_buffer_destroy(gpu, &x);
    apus_buffer_destroy(gpu, &y);
    return st;
}
