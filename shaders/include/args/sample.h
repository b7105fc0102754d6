/* sample.h - arguments of sample.comp, sample_blocks.comp and sample_mark.comp. */
#ifndef APUS_SAMPLE_H
#define APUS_SAMPLE_H
#include "dual.h"

/* Settings of a sequence: a row of u32 words. */
#define APUS_SAMPLE_TEMPERATURE 0 /* f32; 0: the most likely id */
#define APUS_SAMPLE_TOP_K 1       /* u32; 0: off */
#define APUS_SAMPLE_TOP_P 2       /* f32; 1: off */
#define APUS_SAMPLE_MIN_P 3       /* f32; 0: off */
#define APUS_SAMPLE_PENALTY 4     /* f32; 1: off */
#define APUS_SAMPLE_SEED 5        /* u32 */
#define APUS_SAMPLE_COUNTER 6     /* u32: position of the token to be drawn */
#define APUS_SAMPLE_SLOT 7        /* u32: row of `seen` */
#define APUS_SAMPLE_WORDS 8

/* Key word of the draw, beside the seed: no other use of the generator has it. */
#define APUS_SAMPLE_KEY 0x53616D70u

#define APUS_SAMPLE_BLOCK 64u  /* ids a block */
#define APUS_SAMPLE_LIST 16384u /* candidates a row that are listed */

struct apus_sample_push {
    APUS_ADDR logits, settings, seen, tokens, token_slot, drawn, blocks, list, step;
    APUS_ROWS_FIELDS
    uint vocab, n_blocks, seen_words, slots, list_room;
};

#endif
