/* embed_back.h - arguments of embed_back.comp. */
#ifndef APUS_EMBED_BACK_H
#define APUS_EMBED_BACK_H
#include "dual.h"

struct apus_embed_back_push {
    APUS_ADDR dy, ids, starts, order, into, step;
    uint unique_var; /* step variable: distinct ids */
    uint cols;
    uint vocab;
};

#endif
