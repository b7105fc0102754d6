/* bites.c - does the validation layer look?  In each of its modes a run without a fault gives no
 * message, and one with a fault of the kind that the mode is for gives one, which fails the wait.
 * The faults do no harm: nothing is written where it must not be. */
#include <stdio.h>

#include "gpu.h"
#include "harness.h"
#include "probe.h"

enum { FLOATS = 4096, LOCAL = 64 };

typedef struct rig {
    apus_gpu *gpu;
    apus_buffer x, y;
    apus_commands *c;
} rig;

/* What the layer said. */
static char said[1 << 14];

static void on_log(void *user, apus_log_level level, const char *line)
{
    const size_t n = strlen(said);

    (void)user;
    if (level == APUS_LOG_ERROR)
        snprintf(said + n, sizeof(said) - n, "%s\n", line);
}

static bool rig_open(rig *b, const char *mode)
{
    *b = (rig) { 0 };
    said[0] = '\0';
    setenv("APUS_CACHE_DIR", harness_folder(), 0);
    setenv("APUS_VALIDATE", mode, 1);
    const apus_status st = apus_gpu_create(&b->gpu, NULL);

    if (st == APUS_ERR_MISSING) {
        harness_skip("%s", apus_error_text());
        return false;
    }
    apus_log_set(on_log, NULL, APUS_LOG_ERROR);
    return CHECK_OK(st) &&
           CHECK_OK(apus_buffer_create(b->gpu, &b->x, FLOATS * 4, APUS_MEMORY_DEVICE, "x")) &&
           CHECK_OK(apus_buffer_create(b->gpu, &b->y, 2 * FLOATS * 4, APUS_MEMORY_DEVICE, "y")) &&
           CHECK_OK(apus_commands_create(b->gpu, &b->c)) && CHECK_OK(apus_commands_begin(b->c));
}

static void rig_close(rig *b)
{
    apus_log_set(NULL, NULL, APUS_LOG_WARN);
    apus_commands_destroy(&b->c);
    if (b->gpu) {
        apus_buffer_destroy(b->gpu, &b->x);
        apus_buffer_destroy(b->gpu, &b->y);
    }
    apus_gpu_destroy(&b->gpu);
    unsetenv("APUS_VALIDATE");
}

/* y[i] = x[i] + i for n elements, then y is filled. */
static void record(rig *b, uint32_t n, bool barrier)
{
    const struct apus_probe_push push = { .x = b->x.address, .y = b->y.address, .n = n, .a = 1.0f };

    CHECK_OK(apus_commands_dispatch(
        b->c, &(apus_kernel_key) { .name = "probe", .n_spec = 1, .spec = { LOCAL } }, &push,
        sizeof(push), (uint32_t[]) { (n + LOCAL - 1) / LOCAL, 1, 1 }));
    apus_commands_barrier(b->c);
    apus_commands_fill(b->c, &b->y, 0, b->y.bytes, 7);
    if (barrier)
        apus_commands_barrier(b->c);
    apus_commands_copy(b->c, &b->y, 0, &b->x, 0, b->x.bytes);
    CHECK_OK(apus_commands_end(b->c));
}

/* Submit the list `times` times at once; `word` is what a message must say, NULL: none comes. */
static void submit(rig *b, uint32_t times, const char *word)
{
    apus_commands *const lists[2] = { b->c, b->c };
    uint64_t ticket;

    CHECK_OK(apus_gpu_submit(b->gpu, lists, times, &ticket));
    const apus_status st = apus_gpu_wait(b->gpu, ticket, 0);

    if (!word) {
        CHECK_OK(st);
        CHECK_EQ_U64(apus_gpu_validation_count(b->gpu), 0);
        harness_check(!said[0], __FILE__, __LINE__, "said: %s", said);
        return;
    }
    CHECK_FAILS(st, APUS_ERR_DEVICE, "of the validation layer");
    CHECK(apus_gpu_validation_count(b->gpu) > 0);
    harness_check(strstr(said, word) != NULL, __FILE__, __LINE__, "%s is not in: %s", word, said);
}

static void run(const char *mode, uint32_t n, bool barrier, uint32_t times, const char *word)
{
    rig b;

    if (rig_open(&b, mode)) {
        record(&b, n, barrier);
        submit(&b, times, word);
    }
    rig_close(&b);
}

TEST(a_sound_run_gives_no_message)
{
    run("1", FLOATS, true, 1, NULL);
    run("gpu", FLOATS, true, 1, NULL);
}

TEST(core_sees_a_list_submitted_twice_at_once)
{
    run("1", FLOATS, true, 2, "VUID-vkQueueSubmit-pCommandBuffers-00071");
    run("gpu", FLOATS, true, 2, "VUID-vkQueueSubmit-pCommandBuffers-00071");
}

TEST(synchronization_sees_a_copy_without_a_barrier)
{
    run("1", FLOATS, false, 1, "SYNC-HAZARD-READ-AFTER-WRITE");
}

/* A page more than x has is read: there is memory, but it is not the buffer's. */
TEST(gpu_assisted_sees_an_address_past_the_buffer)
{
    run("gpu", FLOATS + LOCAL, true, 1, "ddress");
}
