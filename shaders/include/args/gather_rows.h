/* gather_rows.h - arguments of gather_rows.comp. */
#ifndef APUS_GATHER_ROWS_H
#define APUS_GATHER_ROWS_H
#include "dual.h"

struct apus_gather_rows_push {
    APUS_ADDR x, index, y, step;
    APUS_ROWS_FIELDS
    uint cols;
    uint x_rows;
};

#endif
