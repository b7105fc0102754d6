/* cmd_inspect.c - `apus inspect`: what a model is made of, and the template that suits it. */
#include <stdio.h>

#include "args.h"
#include "base.h"
#include "options.h"
#include "saved.h"

static void show_template(const char *model, const apus_model_about *about)
{
    apus_tokenizer *tokenizer = NULL;
    apus_template_choice choice;
    const char *system;
    apus_status st = apus_tokenizer_open(&tokenizer, model);

    if (st == APUS_OK)
        st = apusi_template_of(&choice, &(apusi_template_wish) {
                                            .model = model,
                                            .about = about,
                                            .tokenizer = tokenizer,
                                        });
    if (st == APUS_OK) {
        system = apus_template_default_system(choice.tmpl);
        printf("template %s (%s)\n", apus_template_name(choice.tmpl), choice.reason);
        printf("system   %s\n", system ? system : "none by default");
    } else {
        printf("template none: %s\n", apus_error_text());
    }
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
    if (fflush(stdout) != 0)
        st = apus_fail(APUS_ERR_IO, "inspect: the text could not be written");
fail:
    free(text);
    apus_model_close(&model);
    return st;
}
