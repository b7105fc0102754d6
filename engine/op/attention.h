/* attention.h - attention over a paged cache or over the rows of a step. */
#ifndef APUSI_OP_ATTENTION_H
#define APUSI_OP_ATTENTION_H

#include "caps.h"
#include "graph.h"

/* The sequences of a step, arrays of the step buffer.  The rows of a sequence stand together. */
typedef struct apus_sequences {
    apus_tensor *pos;    /* (T) u32: position of a row in its sequence, earlier tokens included */
    apus_tensor *seq;    /* (T) u32: sequence of a row */
    apus_tensor *base;   /* (S) u32: added to a position before the page table: 0 with a cache, the
                            sequence's first row where keys are the step's own rows */
    apus_tensor *length; /* (S) u32: keys of the sequence, those of this step included */
    apus_tensor *pages;  /* (S * max_pages) u32: physical page of each logical one; max_pages 0: the
                            one table of all sequences */
    apus_tensor
        *blocks; /* (2 * max_blocks) u32: first row and number of rows of each block, live by
                            APUS_VAR_BLOCKS; a block lies in one sequence */
    uint32_t page_tokens, max_pages, block_tokens, max_blocks;
} apus_sequences;

typedef struct apus_attention_params {
    uint32_t heads, kv_heads; /* kv_heads divides heads */
    uint32_t head_dim;        /* a multiple of 4, [4, 256] */
    float scale;              /* of the scores; 0: 1 / sqrt(head_dim) */
    uint32_t window;          /* a row at p sees keys j with p - j < window; 0: all before it */
    bool bidirectional;       /* keys behind the row are seen as well */
    float softcap;            /* a score s counts as softcap * tanh(s / softcap); 0: as it is */
    apus_tensor *sinks;       /* (heads) f32: a logit of each head that takes part in the sum of the
                                 softmax and has no value; NULL: none */
} apus_attention_params;

/* Rows of a block so that a subgroup's lanes are well used: 1 where max_rows is 1. */
uint32_t apus_attention_block_tokens(const apus_caps *caps, uint32_t heads, uint32_t kv_heads,
                                     uint32_t head_dim, uint32_t max_rows);
/* Fill the block list from each sequence's first row and number of rows; returns how many. */
uint32_t apus_blocks_fill(uint32_t *blocks, const uint32_t *first_row, const uint32_t *n_rows,
                          uint32_t n_sequences, uint32_t block_tokens);

/* softmax(scale q k^T) v for each row over the keys of its sequence that it sees.
 *
 *   q (T, heads * head_dim) f32, f16 or bf16
 *   k, v (rows, kv_heads * head_dim): activations of the step, or caches, of f32, f16 or bf16
 *   ->  (T, heads * head_dim) like q;  *lse (T, heads) f32: log of the sum of exp(scores), for the
 *       gradient, that of the sinks included (lse may be NULL)
 *
 * Nothing of size T * T is stored.  Where at most 8 rows may see 256 keys or more, these can be
 * divided among workgroups, whose results lie in planned memory until a second dispatch puts them
 * together; a part has its keys by the sequence's length in this step, 128 or more.
 * Gradient: q, k, v, where k and v are the step's own rows, and sinks (added to grad_into).
 * Errors: APUS_ERR_SHAPE, APUS_ERR_ARG (a cap below 0 or not finite).  Dao et al. 2022 and 2023,
 * arXiv:2205.14135, arXiv:2307.08691; parts: Flash-Decoding, 2023; caps: Gemma 2, arXiv:2408.00118;
 * sinks: gpt-oss, arXiv:2508.10925. */
apus_tensor *apus_attention(apus_graph *g, apus_tensor *q, apus_tensor *k, apus_tensor *v,
                            const apus_sequences *s, const apus_attention_params *p,
                            apus_tensor **lse);

#endif
