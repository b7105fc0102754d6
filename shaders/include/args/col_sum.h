/* col_sum.h - arguments of col_sum.comp. */
#ifndef APUS_COL_SUM_H
#define APUS_COL_SUM_H
#include "dual.h"

struct apus_col_sum_push {
    APUS_ADDR x, into, step;
    APUS_ROWS_FIELDS
    uint cols;
};

#endif
