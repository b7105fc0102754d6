/* load.h - weights from files into device memory.  Private. */
#ifndef APUSI_LOAD_H
#define APUSI_LOAD_H

#include "model.h"

/* Load every weight of m->weights.  Errors: see apus_model_open. */
apus_status apus_model_load(apus_model *m);
/* The rows of a file's tensor as f32 in Hugging Face's order: dst has rows * max(cols, 1)
 * elements. */
void apus_model_decode(const apus_file_tensor *t, uint32_t rows, uint32_t cols, float *dst);

#endif
