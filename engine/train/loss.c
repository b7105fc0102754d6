/* loss.c - head and cross-entropy in chunks.  For each chunk: logits = x head^T; the logits become
 * d loss / d logits; dx = d logits head; d head += d logits^T x.  Chunks without live rows cost an
 * empty dispatch. */
#include "loss.h"

#include "base.h"
#include "cross_entropy.h"
#include "matmul.h"
#include "zeros.h"

#define MOST_BYTES (16u << 20)
#define LEAST_BYTES (1u << 20) /* less memory than that is not worth more dispatches */
#define MANY_ROWS 4096u        /* from which on at most 1 of MOST_PARTS of all logits exists */
#define MOST_PARTS 50u
#define MOST_ROWS 256u /* products of more rows are no faster */

/* Whole blocks of what products compute by, where that many rows fit. */
static uint32_t chunk_rows(uint32_t rows, uint32_t vocab)
{
    const uint64_t row_bytes = (uint64_t)vocab * 4; /* logits are f32 */
    uint64_t most = MOST_BYTES;

    if (rows >= MANY_ROWS) {
        most = rows * row_bytes / MOST_PARTS;
        if (most < LEAST_BYTES)
            most = LEAST_BYTES;
    }
    uint64_t n = most / row_bytes;
    n -= n % (n < 64 ? 16 : 64);
    if (n < 16)
        n = 16;
    if (n > MOST_ROWS)
        n = MOST_ROWS;
    return n < rows ? (uint32_t)n : rows;
}

void apus_head_loss(apus_graph *g, apus_tensor *x, const apus_head_loss_params *p)
{
    apus_tensor *dx = NULL;

    if (!x || !p->head)
        return;
    const uint32_t rows = x->dims[0], chunk = chunk_rows(rows, p->head->dims[0]);
    if (p->gradient)
        dx = apus_zeros(g, x->dtype, 2, x->dims, x->rows);
    for (uint32_t at = 0; at < rows && g->status == APUS_OK; at += chunk) {
        const uint32_t n = rows - at < chunk ? rows - at : chunk;
        const apus_rows live = { APUS_VAR_LOSS_ROWS, at, n, 1 };
        apus_tensor *part = apus_graph_with_rows(g, apus_graph_slice(g, x, at, n), live);
        apus_tensor *z = apus_matmul(g, part, p->head, &(apus_matmul_params) { .kind = APUS_NT });
        z = apus_cross_entropy(
            g, z,
            &(apus_cross_entropy_params) { .labels = apus_graph_slice(g, p->labels, at, n),
                                           .weights = apus_graph_slice(g, p->weights, at, n),
                                           .state = p->state,
                                           .gradient = p->gradient });
        if (!p->gradient)
            continue;
        apus_tensor *into = apus_graph_with_rows(g, apus_graph_slice(g, dx, at, n), live);
        apus_matmul(g, z, p->head, &(apus_matmul_params) { .kind = APUS_NN, .into = into });
        if (p->head->wants_grad)
            apus_matmul(g, z, part,
                        &(apus_matmul_params) { .kind = APUS_TN,
                                                .acc = p->head->grad_into,
                                                .into = p->head->grad_into });
    }
    if (p->gradient)
        x->grad = dx;
}
