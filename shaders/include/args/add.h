/* add.h - arguments of add.comp. */
#ifndef APUS_ADD_H
#define APUS_ADD_H
#include "dual.h"

struct apus_add_push {
    APUS_ADDR a, b, y, step;
    APUS_ROWS_FIELDS
    uint cols; /* elements a row */
};

#endif
