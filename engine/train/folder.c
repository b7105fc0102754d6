/* folder.c - the folder of a run: output_dir/vN-date, and how many checkpoints it keeps. */
#include <stdio.h>

#include "file.h"
#include "os.h"
#include "trainer_internal.h"

/* One more than the largest N of names vN-...; files that do not look so are passed over. */
static apus_status next_version(const char *dir, unsigned *out)
{
    char **names = NULL;
    size_t n = 0;

    *out = 0;
    if (!apus_path_is_dir(dir))
        return APUS_OK;
    APUS_FORWARD(apus_dir_list(&names, &n, dir));
    for (size_t i = 0; i < n; i++) {
        unsigned v;
        if (sscanf(names[i], "v%u-", &v) == 1 && v >= *out)
            *out = v + 1;
        apus_free(names[i]);
    }
    apus_free(names);
    return APUS_OK;
}

static apus_status write_text(const char *folder, const char *name, const char *text)
{
    char *path = apus_path_join(folder, name);
    const apus_status st = path ? apus_file_write(path, text, strlen(text)) : APUS_ERR_MEMORY;

    apus_free(path);
    return st;
}

apus_status apusi_folder_make(apusi_trainer *t)
{
    apus_status st;
    char *base = apus_path_absolute(t->p->output_dir), *path = NULL;
    char date[32];
    unsigned version;

    if (!base)
        return APUS_ERR_MEMORY;
    apus_local_time(date, sizeof(date), "%Y%m%d-%H%M%S");
    APUS_TRY(next_version(base, &version));
    t->folder =
        t->p->add_version ? apus_format("%s/v%u-%s", base, version, date) : apus_strdup(base);
    if (!t->folder)
        APUS_TRY(APUS_ERR_MEMORY);
    APUS_TRY(apus_dir_create(t->folder));
    snprintf(t->result->folder, sizeof(t->result->folder), "%s", t->folder);
    if (t->p->args_json)
        APUS_TRY(write_text(t->folder, "args.json", t->p->args_json));
    if (t->val.n && t->p->data.n_val_paths == 0) {
        path = apus_path_join(t->folder, "val_dataset.jsonl");
        if (!path)
            APUS_TRY(APUS_ERR_MEMORY);
        APUS_TRY(apus_data_write_val(t->data, path));
    }
    if (t->cb->folder)
        t->cb->folder(t->cb->user, t->folder);
fail:
    apus_free(base);
    apus_free(path);
    return st;
}

static void remove_one(const apusi_trainer *t, uint64_t step)
{
    char *path = apus_format("%s/checkpoint-%llu", t->folder, (unsigned long long)step);

    if (path && apus_path_remove(path) != APUS_OK)
        apus_log(APUS_LOG_WARN, "%s could not be deleted: %s", path, apus_error_text());
    apus_free(path);
}

static bool is_kept(const apusi_trainer *t, const char *name)
{
    const char *from = t->p->full ? t->recovery.from : NULL; /* the model's small files are there */
    const size_t n = strlen(t->folder);

    if (from && !strncmp(from, t->folder, n) && from[n] == '/' &&
        !strcmp(apus_path_base(from), name))
        return true;
    return (t->last_checkpoint && !strcmp(apus_path_base(t->last_checkpoint), name)) ||
           (t->best_checkpoint && !strcmp(apus_path_base(t->best_checkpoint), name));
}

void apusi_folder_trim(const apusi_trainer *t)
{
    char **names = NULL;
    size_t n = 0, found = 0;

    if (!t->p->save_total_limit || apus_dir_list(&names, &n, t->folder) != APUS_OK)
        return;
    for (size_t i = 0; i < n; i++)
        found += !strncmp(names[i], "checkpoint-", 11) && !strstr(names[i], ".tmp");
    while (found > t->p->save_total_limit) {
        unsigned long long oldest = UINT64_MAX, step;
        for (size_t i = 0; i < n; i++)
            if (names[i] && sscanf(names[i], "checkpoint-%llu", &step) == 1 &&
                !is_kept(t, names[i]) && step < oldest)
                oldest = step;
        if (oldest == UINT64_MAX)
            break;
        remove_one(t, oldest);
        for (size_t i = 0; i < n; i++)
            if (names[i] && sscanf(names[i], "checkpoint-%llu", &step) == 1 && step == oldest) {
                apus_free(names[i]);
                names[i] = NULL;
            }
        found--;
    }
    for (size_t i = 0; i < n; i++)
        apus_free(names[i]);
    apus_free(names);
}
