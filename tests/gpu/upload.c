/* upload.c - tests of writing to buffers that are not mapped: the order of copies and of work on
 * another queue, where the device has one. */
#include <stdio.h>

#include "gpu_test.h"

#define TURNS 16u
#define WRITTEN (8u << 20) /* bytes: a stage */
#define COPIED (64u << 10)
#define SLOW (128u << 20)
#define LARGE (20u << 20) /* more than all stages hold */

static apus_gpu *open_staged(void)
{
    setenv("APUS_STAGED", "1", 1);
    apus_gpu *gpu = gpu_test_open();
    unsetenv("APUS_STAGED");
    return gpu;
}

typedef struct scene {
    apus_buffer x, all, slow;
    apus_commands *lists[TURNS];
    uint32_t *words;
    uint64_t ticket;
} scene;

static bool set(scene *s, apus_gpu *gpu)
{
    bool ok =
        CHECK((s->words = apus_alloc(WRITTEN)) != NULL) &&
        CHECK_OK(apus_buffer_create(gpu, &s->x, WRITTEN, APUS_MEMORY_DEVICE, "x")) &&
        CHECK_OK(apus_buffer_create(gpu, &s->all, TURNS * COPIED, APUS_MEMORY_DEVICE, "all")) &&
        CHECK_OK(apus_buffer_create(gpu, &s->slow, SLOW, APUS_MEMORY_DEVICE, "slow"));

    for (uint32_t i = 0; i < TURNS && ok; i++) {
        ok = CHECK_OK(apus_commands_create(gpu, &s->lists[i])) &&
             CHECK_OK(apus_commands_begin(s->lists[i]));
        if (!ok)
            break;
        if (i % 2)
            apus_commands_fill(s->lists[i], &s->slow, 0, SLOW, i);
        apus_commands_barrier(s->lists[i]);
        apus_commands_copy(s->lists[i], &s->x, WRITTEN - COPIED, &s->all, i * COPIED, COPIED);
        ok = CHECK_OK(apus_commands_end(s->lists[i]));
    }
    return ok;
}

/* One buffer is written again and again, and its end copied to a place of its own in between: a
 * copy that does not wait for the write takes what stood there before, a write that does not wait
 * for the copy gives it what comes next.  To show the second, every other copy stands behind slow
 * work; to show the first, the others come at once and a write is long.  Nothing is waited for. */
static void play(scene *s, apus_gpu *gpu)
{
    for (uint32_t i = 0; i < TURNS; i++) {
        /* What is written again at once has to come behind what was written first. */
        CHECK_OK(apus_buffer_write(gpu, &s->x, 0, s->words, WRITTEN));
        for (uint32_t k = 0; k < WRITTEN / 4; k++)
            s->words[k] = i;
        CHECK_OK(apus_buffer_write(gpu, &s->x, 0, s->words, WRITTEN));
        memset(s->words, 0xff, WRITTEN); /* the bytes were taken */
        CHECK_OK(apus_gpu_submit(gpu, &s->lists[i], 1, &s->ticket));
    }
}

static void strike(scene *s, apus_gpu *gpu)
{
    CHECK_OK(apus_gpu_wait(gpu, s->ticket, 0));
    for (uint32_t i = 0; i < TURNS; i++)
        apus_commands_destroy(&s->lists[i]);
    apus_buffer_destroy(gpu, &s->x);
    apus_buffer_destroy(gpu, &s->all);
    apus_buffer_destroy(gpu, &s->slow);
    apus_free(s->words);
}

TEST(copies_and_work_keep_their_order)
{
    apus_gpu *gpu = open_staged();
    scene s = { 0 };
    uint32_t wrong = 0;

    if (!gpu)
        return;
    if (set(&s, gpu)) {
        CHECK(s.x.host == NULL && s.all.host == NULL);
        play(&s, gpu);
        CHECK_OK(apus_buffer_read(gpu, &s.all, 0, s.words, TURNS * COPIED));
        for (uint32_t i = 0; i < TURNS * COPIED / 4; i++)
            wrong += s.words[i] != i / (COPIED / 4);
        CHECK_EQ_U64(wrong, 0);
    }
    strike(&s, gpu);
    gpu_test_close(&gpu);
}

/* CPU drivers have one queue, and GPUs that have several are seen on drivers that run nothing:
 * there the validation layer says whether what is submitted is ordered. */
TEST(order_is_asked_for)
{
    apus_gpu *gpu = open_staged();
    scene s = { 0 };

    if (!gpu)
        return;
    if (set(&s, gpu))
        play(&s, gpu);
    strike(&s, gpu);
    gpu_test_close(&gpu);
}

/* More than the stages hold, at odd places; a buffer that goes while copies are on their way. */
TEST(large_writes)
{
    apus_gpu *gpu = open_staged();
    apus_buffer b = { 0 };
    uint8_t *src = apus_alloc(LARGE), *dst = apus_alloc(LARGE);

    if (gpu && CHECK(src && dst)) {
        for (uint32_t i = 0; i < LARGE; i++)
            src[i] = (uint8_t)(i * 2654435761u >> 13);
        REQUIRE_OK(apus_buffer_create(gpu, &b, LARGE + 3, APUS_MEMORY_DEVICE, "b"));
        CHECK_OK(apus_buffer_write(gpu, &b, 0, dst, LARGE));
        CHECK_OK(apus_buffer_write(gpu, &b, 3, src, LARGE));
        CHECK_OK(apus_buffer_read(gpu, &b, 3, dst, LARGE));
        CHECK(memcmp(src, dst, LARGE) == 0);
        for (int i = 0; i < 3; i++) {
            apus_buffer_destroy(gpu, &b);
            REQUIRE_OK(apus_buffer_create(gpu, &b, LARGE, APUS_MEMORY_DEVICE, "b"));
            CHECK_OK(apus_buffer_write(gpu, &b, 0, src, LARGE));
        }
        apus_buffer_destroy(gpu, &b);
    }
    apus_free(src);
    apus_free(dst);
    gpu_test_close(&gpu);
}
