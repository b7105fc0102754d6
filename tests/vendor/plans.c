/* plans.c - making the plans of everyday work.  See plans.h. */
#include "plans.h"

#include "adapters.h"
#include "session.h"
#include "step.h"

#define PROMPT 512
#define MANY 8

static apus_status wanted(apus_status st)
{
    return st == APUS_ERR_CANCELLED ? APUS_OK : st;
}

static apus_status infer(apus_model *model, const apus_adapt_hook *hook)
{
    apus_status st;
    apus_session *s = NULL;
    apus_plan *plan;

    APUS_TRY(apus_session_create(
        &s, model, &(apus_session_params) { .tokens = 1024, .max_sequences = MANY, .hook = hook }));
    APUS_TRY(wanted(apus_session_plan(s, PROMPT, 1, &plan)));
    APUS_TRY(wanted(apus_session_plan(s, 1, 1, &plan)));
    APUS_TRY(wanted(apus_session_plan(s, MANY, MANY, &plan)));
fail:
    apus_session_destroy(&s);
    return st;
}

static apus_status train(apus_model *model, apus_adapters *adapters)
{
    apus_status st;
    apus_train_step *s = NULL;
    apus_plan *plan;
    const apus_train_step_params params = {
        .adapters = adapters,
        .max_sequences = MANY,
        .beta1 = 0.9f,
        .beta2 = 0.95f,
        .eps = 1e-8f,
    };

    APUS_TRY(apus_train_step_create(&s, model, &params));
    APUS_TRY(wanted(apus_train_plan(s, PROMPT, 1, &plan)));
    APUS_TRY(wanted(apus_train_step_prepare(s, PROMPT, 1, true)));
fail:
    apus_train_step_destroy(&s);
    return st;
}

static apus_status lora(apus_model *model, bool trains)
{
    apus_status st;
    apus_adapters *adapters = NULL;

    APUS_TRY(apus_adapters_create(&adapters, model, 1, 8));
    APUS_TRY(apus_adapters_new(adapters, 0,
                               &(apus_lora_config) { .rank = 8, .alpha = 32, .dropout = 0.05 }));
    const apus_adapt_hook hook = apus_adapters_hook(adapters);
    APUS_TRY(trains ? train(model, adapters) : infer(model, &hook));
fail:
    apus_adapters_destroy(&adapters);
    return st;
}

apus_status plans_make(apus_model *model, unsigned which)
{
    if (which & PLANS_INFER)
        APUS_FORWARD(infer(model, NULL));
    if (which & PLANS_ADAPTED)
        APUS_FORWARD(lora(model, false));
    if (which & PLANS_LORA)
        APUS_FORWARD(lora(model, true));
    if (which & PLANS_FULL)
        APUS_FORWARD(train(model, NULL));
    return APUS_OK;
}
