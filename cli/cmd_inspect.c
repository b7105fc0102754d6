/* cmd_inspect.c - `apus inspect`: what a model is made of. */
#include <stdio.h>

#include "apus/model.h"
#include "apus/text.h"
#include "args.h"
#include "base.h"
#include "options.h"

static void show_template(const char *model, const apus_model_about *about)
{
    apus_tokenizer *tokenizer = NULL;
    apus_template_choice choice;

    if (apus_tokenizer_open(&tokenizer, model) != APUS_OK) {
        printf("template none: %s\n", apus_error_text());
        return;
    }
    const apus_status st = apus_template_choose(
        &choice,
        &(apus_template_hint) { .model_name = about->name,
                                .gguf_architecture = about->model_type,
                                .chat_template = apus_tokenizer_chat_template(tokenizer) });
    if (st == APUS_OK)
        printf("template %s (%s)\n", apus_template_name(choice.tmpl), choice.reason);
    else
        printf("template none: %s\n", apus_error_text());
    apus_tokenizer_close(&tokenizer);
}

apus_status apus_cmd_inspect(apus_args *args)
{
    apus_inspect_options o;
    apus_model *model = NULL;
    apus_model_about about;
    char *text = NULL;
    apus_status st;

    APUS_FORWARD(apus_inspect_options_read(&o, args));
    APUS_TRY(apus_model_open(&model, o.model, &(apus_model_params) { .no_device = true }));
    APUS_TRY(apus_model_inspect(model, (uint32_t)o.max_length, &text));
    fputs(text, stdout);
    apus_model_describe(model, &about);
    show_template(o.model, &about);
fail:
    free(text);
    apus_model_close(&model);
    return st;
}
