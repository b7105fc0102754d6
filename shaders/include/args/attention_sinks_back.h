/* attention_sinks_back.h - arguments of attention_sinks_back.comp. */
#ifndef APUS_ATTENTION_SINKS_BACK_H
#define APUS_ATTENTION_SINKS_BACK_H
#include "dual.h"

struct apus_attention_sinks_back_push {
    APUS_ADDR sinks, lse, dot, into, step;
    APUS_ROWS_FIELDS
    uint heads;
};

#endif
