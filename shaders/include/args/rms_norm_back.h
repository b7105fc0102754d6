/* rms_norm_back.h - arguments of rms_norm_back.comp and rms_norm_back_weight.comp. */
#ifndef APUS_RMS_NORM_BACK_H
#define APUS_RMS_NORM_BACK_H
#include "dual.h"

struct apus_rms_norm_back_push {
    APUS_ADDR x, w, dy, acc, dx, step; /* acc: added to dx, or 0.  Weight kernel: dx is d loss /
                                          d w */
    APUS_ROWS_FIELDS
    uint cols;
    float eps;
};

#endif
