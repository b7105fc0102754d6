/* saved.h - what a checkpoint's args.json says, and the template that suits a model. */
#ifndef APUSI_SAVED_H
#define APUSI_SAVED_H

#include "apus/model.h"
#include "apus/text.h"
#include "args.h"

/* Read args.json of the first of --adapters, else of --model, and put the named values in force
 * where no flag says otherwise.  *saved is the whole file, or NULL where there is none; the caller
 * frees it with cJSON_Delete.  Errors: those of reading it and of apus_args_adopt. */
apus_status apusi_saved_adopt(cJSON **saved, apus_args *args, const char *const *names, size_t n);

typedef struct apusi_template_wish {
    const char *model; /* path */
    const char *template_name, *model_type;
    const apus_model_about *about;
    const apus_tokenizer *tokenizer;
} apusi_template_wish;

/* Errors: those of apus_template_choose. */
apus_status apusi_template_of(apus_template_choice *out, const apusi_template_wish *wish);

#endif
