/* fetch.h - arguments of fetch.comp. */
#ifndef APUS_FETCH_H
#define APUS_FETCH_H
#include "dual.h"

struct apus_fetch_push {
    APUS_ADDR x, y;
    uint words; /* of 32 bits, the last one perhaps not whole */
};

#endif
