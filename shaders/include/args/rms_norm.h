/* rms_norm.h - arguments of rms_norm.comp. */
#ifndef APUS_RMS_NORM_H
#define APUS_RMS_NORM_H
#include "dual.h"

struct apus_rms_norm_push {
    APUS_ADDR x, w, y, step;
    APUS_ROWS_FIELDS
    uint cols;
    float eps;
};

#endif
