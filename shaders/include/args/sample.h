/* sample.h - arguments of sample.comp and sample_mark.comp, and the words of a sequence's settings. */
#ifndef APUS_SAMPLE_H
#define APUS_SAMPLE_H
#include "dual.h"

#define APUS_SAMPLE_TEMPERATURE 0 /* f32; 0: the most likely token */
#define APUS_SAMPLE_TOP_K 1       /* u32; 0: all */
#define APUS_SAMPLE_TOP_P 2       /* f32; 1: all */
#define APUS_SAMPLE_MIN_P 3       /* f32; 0: all */
#define APUS_SAMPLE_PENALTY 4     /* f32; 1: none */
#define APUS_SAMPLE_SEED 5        /* u32 */
#define APUS_SAMPLE_COUNTER 6     /* u32: position of the token to be drawn */
#define APUS_SAMPLE_SLOT 7        /* u32: row of `seen` */
#define APUS_SAMPLE_WORDS 8

struct apus_sample_push {
    APUS_ADDR logits, settings, seen, drawn, tokens, token_slot, step; /* seen, tokens: 0 for none */
    uint rows_var, rows_max;     /* sequences */
    uint tokens_var, tokens_max; /* tokens of the step (marking) */
    uint vocab;
    uint seen_words;             /* words of a row of seen */
    uint seen_rows;
};

#endif
