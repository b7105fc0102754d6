/* A run that does not fit ends before anything is written, and what it says would fit does. */
#include "place.h"
#include "str.h"

#define BIG                                                                                        \
    "sft --model m --template chatml --dataset many.jsonl --max_steps 1 --report_to none "         \
    "--gradient_accumulation_steps 1 --output_dir o --add_version false --lora_rank 8 "

/* A folder with model m and 8 rows of different lengths in many.jsonl. */
static const char *crowded(void)
{
    const char *folder = workplace();
    apus_str rows = { 0 };

    for (int i = 0; i < 8; i++) {
        apus_str_add(&rows, "{\"query\": \"");
        for (int k = 0; k < 40 + 10 * i; k++)
            apus_str_add(&rows, "a ");
        apus_str_add(&rows, "\", \"response\": \"red\"}\n");
    }
    put(folder, "many.jsonl", rows.data, rows.len);
    apus_str_release(&rows);
    return folder;
}

static bool run_small(child *c, const char *folder, const char *line, uint64_t mib)
{
    static char heap[64];

    snprintf(heap, sizeof(heap), "APUS_HEAP_MIB=%llu", (unsigned long long)mib);
    return run_with(c, line, &(child_params) { .folder = folder, .env = { mib ? heap : NULL } });
}

/* The number behind words in what was said; 0: they are not there. */
static double number_after(const child *c, const char *words)
{
    const char *at = strstr(c->err, words);

    return at ? strtod(at + strlen(words), NULL) : 0;
}

/* Bytes planned by a run that fits, in MiB. */
static double planned(const char *folder, const char *line)
{
    child c;
    double mib = 0;

    if (run_small(&c, folder, line, 0)) {
        if (!CHECK_EQ_U64(c.code, 0))
            fprintf(stderr, "%s\n", c.err);
        mib = number_after(&c, "planned peak ");
        CHECK(mib > 1);
        child_release(&c);
    }
    return mib;
}

static bool there(const char *folder, const char *name)
{
    char *path = apus_path_join(folder, name);
    const bool is = apus_path_exists(path);

    apus_free(path);
    return is;
}

TEST(what_does_not_fit_says_what_would)
{
    static const char line[] =
        BIG "--per_device_train_batch_size 8 --gradient_checkpointing false ";
    const char *folder = crowded(), *other = crowded();
    child c;

    if (!has_device())
        return;
    const double all = planned(other, line);
    const uint64_t half = (uint64_t)(all / 2);
    REQUIRE(run_small(&c, folder, line, half));
    CHECK_EQ_U64(c.code, 1);
    says(&c, "[WARNING:apus] does not fit; tried in its place: --gradient_checkpointing true: ");
    says(&c, "[WARNING:apus] does not fit; tried in its place: --per_device_train_batch_size 4: ");
    says(&c, "[WARNING:apus] does not fit; tried in its place: --max_length ");
    says(&c, "[WARNING:apus] does not fit; tried in its place: a model in q8_0: ");
    says(&c, "[WARNING:apus] does not fit; tried in its place: a model in q4_0: ");
    says(&c, "apus sft: error: this run does not fit: ");
    says(&c, "; nothing was written");
    CHECK(!there(folder, "o"));
    /* What was only counted is what is taken. */
    CHECK(number_after(&c, "planned peak ") == all);
    /* Each that fits runs in so little memory. */
    const struct {
        const char *flag;
        bool is_number;
    } flags[] = { { "--gradient_checkpointing true", false },
                  { "--per_device_train_batch_size ", true },
                  { "--max_length ", true } };
    size_t n_fit = 0;
    for (size_t i = 0; i < APUS_COUNT(flags); i++) {
        char words[128], *longer;
        const char *at = c.err, *end = NULL;
        child again;

        snprintf(words, sizeof(words), "in its place: %s", flags[i].flag);
        for (const char *next; (next = strstr(at, words)) != NULL; at = next + 1)
            end = strchr(next, '\n');
        if (!CHECK(end != NULL) || strncmp(end - 4, "fits", 4) != 0)
            continue;
        n_fit++;
        at--;
        longer = apus_format("%s%s%.0f", line, flags[i].flag, strtod(at + strlen(words), NULL));
        if (!flags[i].is_number)
            longer[strlen(longer) - 1] = '\0';
        if (run_small(&again, other, longer, half)) {
            if (!CHECK_EQ_U64(again.code, 0))
                fprintf(stderr, "apus %s\n%s\n", longer, again.err);
            CHECK(number_after(&again, "planned peak ") <= (double)half);
            child_release(&again);
        }
        apus_free(longer);
    }
    CHECK(n_fit >= 1);
    child_release(&c);
}

/* Where all weights are trained, moments of 8 bits are tried, and take what a run with them
 * plans. */
TEST(a_smaller_optimizer_is_tried)
{
    static const char line[] = BIG "--per_device_train_batch_size 1 --tuner_type full "
                                   "--gradient_checkpointing true ";
    static const char words[] = "in its place: --optim adamw_8bit: ";
    const char *folder = crowded(), *other = crowded();
    child c;

    if (!has_device())
        return;
    const double
        all = planned(other, line),
        less = planned(
            other,
            BIG "--per_device_train_batch_size 1 --tuner_type full --gradient_checkpointing true "
                "--optim adamw_8bit ");
    CHECK(less < all - 0.2);
    REQUIRE(run_small(&c, folder, line, 1));
    CHECK_EQ_U64(c.code, 1);
    /* In tenths of a MiB, each rounded; where device and host share their memory, with some 60 KiB
     * of the host's. */
    const double told = number_after(&c, words);
    harness_check(told >= less - 0.11 && told <= less + 0.17, __FILE__, __LINE__,
                  "%.1f MiB advised, %.1f planned with it, %.1f without", told, less, all);
    child_release(&c);
}

/* Packs are made shorter, which all of them take part in. */
TEST(packs_that_do_not_fit_say_which_would)
{
    static const char line[] = BIG "--per_device_train_batch_size 1 --packing true "
                                   "--packing_length 700 --gradient_checkpointing true ";
    static const char words[] = "in its place: --max_length ";
    const char *folder = crowded(), *other = crowded();
    char *shorter = NULL;
    child c, again;

    if (!has_device())
        return;
    const double all = planned(other, line);
    const uint64_t most = (uint64_t)all - 1;
    REQUIRE(run_small(&c, folder, line, most));
    CHECK_EQ_U64(c.code, 1);
    CHECK(number_after(&c, "planned peak ") == all);
    const unsigned n = (unsigned)number_after(&c, words);
    shorter = apus_format("--max_length %u --packing_length %u: ", n, n);
    says(&c, shorter);
    apus_free(shorter);
    CHECK(n > 0 && n < 700);
    shorter = apus_format("%s--max_length %u --packing_length %u", line, n, n);
    if (run_small(&again, other, shorter, most)) {
        CHECK_EQ_U64(again.code, 0);
        CHECK(number_after(&again, "planned peak ") <= (double)most);
        child_release(&again);
    }
    apus_free(shorter);
    child_release(&c);
}

/* As many layers as the memory asks for, where nothing else is said. */
TEST(layers_are_recomputed_as_memory_asks)
{
    static const char line[] = BIG "--per_device_train_batch_size 8 ";
    static const char words[] = "gradient checkpointing: ";
    const char *folder = crowded();
    char *flag;
    child c;

    if (!has_device())
        return;
    const double kept = planned(folder, line);
    flag = apus_format("%s--gradient_checkpointing true", line);
    const double least = planned(folder, flag);
    apus_free(flag);
    CHECK(least < kept);
    const struct {
        double mib, layers;
    } runs[] = { { kept * 1.5, 0 }, { (kept + least) / 2 * 1.34, 1 }, { least * 1.1, 2 } };
    for (size_t i = 0; i < APUS_COUNT(runs); i++)
        if (run_small(&c, folder, line, (uint64_t)runs[i].mib + 1)) {
            if (!CHECK_EQ_U64(c.code, 0))
                fprintf(stderr, "%s\n", c.err);
            says(&c, words);
            CHECK_NEAR(number_after(&c, words), runs[i].layers, 0);
            child_release(&c);
        }
}

TEST(full_training_that_does_not_fit_names_lora)
{
    static const char line[] = BIG "--tuner_type full --per_device_train_batch_size 1 "
                                   "--gradient_checkpointing true ";
    const char *folder = crowded(), *other = crowded();
    child c;

    if (!has_device())
        return;
    const double all = planned(other, line);
    REQUIRE(run_small(&c, folder, line, (uint64_t)all - 1));
    CHECK_EQ_U64(c.code, 1);
    CHECK(number_after(&c, "planned peak ") == all);
    says(&c, "tried in its place: --tuner_type lora: ");
    CHECK(!strstr(c.err, "a model in q8_0"));
    CHECK(!there(folder, "o"));
    child_release(&c);
}

TEST(where_nothing_fits_all_is_tried_together)
{
    const char *folder = crowded();
    child c;

    if (!has_device())
        return;
    REQUIRE(run_small(&c, folder, BIG "--per_device_train_batch_size 2 --lora_rank 512 ", 1));
    CHECK_EQ_U64(c.code, 1);
    says(&c, "tried in its place: all of these flags and --max_length ");
    says(&c, "tried in its place: all of these flags, a model in q4_0 and --max_length ");
    says(&c, ", too much\n");
    CHECK(!strstr(c.err, ", fits\n"));
    CHECK(!there(folder, "o"));
    child_release(&c);
}
