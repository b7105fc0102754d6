/* place.h - folders with a tiny model and rows, the program run in them, and what it said. */
#ifndef APUS_TEST_PLACE_H
#define APUS_TEST_PLACE_H

#include <stdio.h>

#include "child.h"

static inline char *words_of(const char *line, char **words)
{
    char *text = apus_strdup(line);

    child_split(text, words, CHILD_WORDS);
    return text;
}

/* Valid until the program ends. */
static inline const char *new_folder(void)
{
    static char paths[64][512];
    static int n;
    char *path = paths[n];

    APUS_BUG_IF(n == 63);
    snprintf(path, sizeof(paths[0]), "%s/case%d", harness_folder(), n++);
    CHECK_OK(apus_dir_create(path));
    return path;
}

static inline bool run_with(child *c, const char *line, const child_params *p)
{
    char *words[CHILD_WORDS], *text = words_of(line, words);
    const bool ok = child_run(c, words, p);

    apus_free(text);
    return ok;
}

/* The words are in what the program said. */
static inline void says(const child *c, const char *words)
{
    if (!strstr(c->err, words) && !CHECK(!"the text is there"))
        fprintf(stderr, "not said: %s\nsaid (exit %d):\n%s\n", words, c->code, c->err);
}

/* The program fails so and names these; NULL: no second text. */
static inline void fails(const char *folder, const char *line, int code, const char *a,
                         const char *b)
{
    child c;

    if (!run_with(&c, line, &(child_params) { .folder = folder }))
        return;
    if (!CHECK_EQ_U64(c.code, code))
        fprintf(stderr, "apus %s\n%s\n", line, c.err);
    says(&c, ": error: ");
    says(&c, a);
    if (b)
        says(&c, b);
    child_release(&c);
}

static inline bool has_device(void)
{
    static int known; /* 1: yes, 2: no */
    child c;

    if (!known) {
        known = 2;
        if (run_with(&c, "devices", &(child_params) { .folder = new_folder() })) {
            known = c.code == 0 ? 1 : 2;
            child_release(&c);
        }
    }
    if (known == 2)
        harness_skip("there is no Vulkan device");
    return known == 1;
}

static inline void put(const char *folder, const char *name, const void *data, size_t bytes)
{
    char *path = apus_path_join(folder, name);

    CHECK_OK(apus_file_write(path, data, bytes));
    apus_free(path);
}

static inline void put_text(const char *folder, const char *name, const char *text)
{
    put(folder, name, text, strlen(text));
}

/* The tiny model in `folder`/m, with `cut` bytes of its weights missing at the end. */
static inline void put_model(const char *folder, size_t cut)
{
    static const char *const names[] = { "config.json", "tokenizer.json", "tokenizer_config.json",
                                         "model.safetensors" };
    char *to = apus_path_join(folder, "m");

    CHECK_OK(apus_dir_create(to));
    for (size_t i = 0; i < APUS_COUNT(names); i++) {
        char *from = apus_path_join(harness_fixture("tiny"), names[i]), *data = NULL;
        size_t bytes = 0;

        if (CHECK_OK(apus_file_read(&data, &bytes, from, 1 << 24)))
            put(to, names[i], data, i == 3 ? bytes - cut : bytes);
        apus_free(data);
        apus_free(from);
    }
    apus_free(to);
}

#define ROW(question, answer)                                                                      \
    "{\"messages\": [{\"role\": \"user\", \"content\": \"" question "\"}, "                        \
    "{\"role\": \"assistant\", \"content\": \"" answer "\"}]}\n"
#define SFT "sft --model m --template chatml --dataset rows.jsonl "
#define FEW                                                                                        \
    "--max_steps 2 --per_device_train_batch_size 1 --gradient_accumulation_steps 1 "               \
    "--report_to none --output_dir o --add_version false "

/* A folder with model m and rows.jsonl. */
static inline const char *workplace(void)
{
    const char *folder = new_folder();

    put_model(folder, 0);
    put_text(folder, "rows.jsonl", ROW("red", "red") ROW("blue", "blue"));
    return folder;
}

#endif
