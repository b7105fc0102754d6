/* embed.h - arguments of embed.comp. */
#ifndef APUS_EMBED_H
#define APUS_EMBED_H
#include "dual.h"

struct apus_embed_push {
    APUS_ADDR ids, w, scales, y, step;
    APUS_ROWS_FIELDS
    uint cols;        /* a multiple of 4 */
    uint vocab;
    uint scale_words;
};

#endif
