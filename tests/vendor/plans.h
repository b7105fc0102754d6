/* plans.h - the plans of everyday work on a model: prompt, decoding, LoRA training. */
#ifndef VENDOR_PLANS_H
#define VENDOR_PLANS_H

#include "model.h"

enum {
    PLANS_INFER = 1,   /* a prompt of 512 tokens; one token of one and of eight sequences */
    PLANS_LORA = 2,    /* micro batch of 512 tokens, evaluation, update */
    PLANS_FULL = 4,    /* the same for all weights; the model was opened with train_all */
    PLANS_ADAPTED = 8, /* as PLANS_INFER, with an adapter that is not merged */
};

/* Make the plans and drop them again; their kernels stay with the model's device.  Building that
 * ends with APUS_ERR_CANCELLED goes on with the next plan. */
apus_status plans_make(apus_model *model, unsigned which);

#endif
