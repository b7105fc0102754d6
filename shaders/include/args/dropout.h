/* dropout.h - arguments of dropout.comp. */
#ifndef APUS_DROPOUT_H
#define APUS_DROPOUT_H
#include "dual.h"

struct apus_dropout_push {
    APUS_ADDR x, row_id, pos, acc, y, step; /* acc: added, or 0 */
    APUS_ROWS_FIELDS
    uint cols;     /* a multiple of 4 */
    uint seed_var, step_var;
    uint name;     /* hash of the tensor's name */
    float p;       /* probability of zero */
};

#endif
