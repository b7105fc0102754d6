/* loss.c - tests of apus_head_loss: how much memory it takes beyond its operands.  Its values are
 * those of op.cross_entropy and op.matmul, and of every recorded training run. */
#include "loss.h"

#include <stdio.h>

#include "args/train_state.h"
#include "classes.h"
#include "exec.h"
#include "harness.h"

/* Bytes that the plan of a loss holds beside its inputs and dx. */
static uint64_t extra_bytes(uint32_t rows, uint32_t vocab, uint32_t hidden, apus_dtype type)
{
    const apus_gpu_class *class = NULL;
    apus_caps caps;
    apus_plan_info info = { 0 };
    apus_graph g;
    uint64_t dx = 0;

    if (!CHECK_OK(apus_gpu_class_find(&class, "ada")) ||
        !CHECK_OK(apusi_class_caps(&caps, class, 0)) || !CHECK_OK(apus_graph_init(&g)))
        return 0;
    apus_tensor *x = apus_graph_bound(&g, "x", type, 2, (uint32_t[]) { rows, hidden }, 1 << 20);
    const apus_head_loss_params params = {
        .head = apus_graph_bound(&g, "head", APUS_F16, 2, (uint32_t[]) { vocab, hidden }, 1u << 30),
        .labels = apus_graph_step(&g, "labels", APUS_U32, rows, APUS_ROWS_ALL),
        .weights = apus_graph_step(&g, "weights", APUS_F32, rows, APUS_ROWS_ALL),
        .state = apus_graph_bound(&g, "state", APUS_F32, 1, (uint32_t[]) { APUS_STATE_WORDS }, 256),
        .gradient = true,
    };

    apus_head_loss(&g, x, &params);
    if (CHECK_OK(apus_graph_status(&g)) && CHECK(x->grad != NULL)) {
        x->grad->keep = true;
        dx = x->grad->bytes;
        CHECK_OK(
            apus_plan_estimate(&info, NULL, &g, &caps, &(apus_plan_params) { .name = "loss" }));
        CHECK(info.scratch_bytes >= dx);
    }
    apus_graph_release(&g);
    return info.scratch_bytes - dx;
}

TEST(few_logits_exist_at_a_time)
{
    static const struct {
        uint32_t vocab, hidden;
    } models[] = {
        { 3000, 64 }, { 32000, 2048 }, { 49152, 576 }, { 128256, 4096 }, { 151936, 896 }
    };
    static const uint32_t rows[] = { 17, 512, 2048, 4095, 4096, 5000, 16384, 65536 };
    static const apus_dtype types[] = { APUS_F32, APUS_F16 };

    for (size_t m = 0; m < APUS_COUNT(models); m++)
        for (size_t t = 0; t < APUS_COUNT(types); t++)
            for (size_t r = 0; r < APUS_COUNT(rows); r++) {
                const uint64_t extra =
                    extra_bytes(rows[r], models[m].vocab, models[m].hidden, types[t]);
                const uint64_t part = (uint64_t)rows[r] * models[m].vocab * 4 / 50;
                const uint64_t most = rows[r] < 4096    ? 16u << 20
                                      : part > 1u << 20 ? part
                                                        : 1u << 20;

                harness_check(extra > 0 && extra <= most, __FILE__, __LINE__,
                              "%u rows of %u logits of %s: %llu bytes beside the operands, at most "
                              "%llu",
                              rows[r], models[m].vocab, apus_dtype_of(types[t])->name,
                              (unsigned long long)extra, (unsigned long long)most);
            }
}
