/* evaluate.c - loss and token accuracy on the validation rows. */
#include "os.h"
#include "trace.h"
#include "trainer_internal.h"

static apus_status evaluate(apusi_trainer *t, uint64_t step, double epoch)
{
    const uint32_t batch = apusi_eval_batch(t);
    const uint64_t start = apus_now_ns();
    apus_train_numbers numbers;
    uint32_t index[APUSI_MOST_BATCH];
    uint64_t batches = 0;

    for (size_t at = 0; at < t->val.packs.n; batches++) {
        uint32_t n = 0;
        while (n < batch && at < t->val.packs.n)
            index[n++] = (uint32_t)at++;
        apusi_rows_batch(&t->val, index, n, &t->batch);
        APUS_FORWARD(apus_train_eval(t->step, t->batch.seqs, t->batch.n, t->p->cancel));
    }
    APUS_FORWARD(apus_train_read(t->step, &numbers));
    const double seconds = (double)(apus_now_ns() - start) * 1e-9;
    const double loss = numbers.tokens > 0 ? numbers.loss / numbers.tokens : 0;
    apus_log_value values[5] = { { "eval_loss", loss } };
    apus_log_speed(values + 1, "eval", seconds, (double)t->val.packs.n, (double)batches);
    values[4] = (apus_log_value) { "eval_token_acc",
                                   numbers.tokens > 0 ? numbers.correct / numbers.tokens : 0 };
    if (!t->state.has_best || loss < t->state.best_metric) {
        t->state.has_best = true;
        t->state.best_metric = loss;
        t->state.best_step = step;
    }
    return apusi_log(t, step, epoch, values, APUS_COUNT(values));
}

apus_status apusi_evaluate(apusi_trainer *t, uint64_t step, double epoch)
{
    const uint64_t began = apus_trace_begin();

    t->recovery.evaluating = true;
    APUS_FORWARD(evaluate(t, step, epoch));
    apus_trace_end(began, "evaluate", NULL, "step", step);
    t->recovery.evaluating = false;
    return APUS_OK;
}
