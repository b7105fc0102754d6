/* tuned.c - tune files: what they change, what of them is refused, and how they are measured. */
#include "tuned.h"

#include <stdio.h>
#include <stdlib.h>

#include "choice.h"
#include "exec_test.h"
#include "file.h"
#include "tuner.h"

#define PROBLEM "matmul nt 5x24x64 f32"

static char text_of_choice[] = "cpu/4x1", text_of_default[] = "cpu";

static const apus_caps gpu = {
    .name = "a GPU", .driver = "a driver, 1.2", .uuid = { 1, 2, 3, 250 }, .driver_version = 7
};

static bool add(apus_tuned *t, const char *problem, apus_narrow narrow, const char *choice)
{
    return CHECK_OK(apus_tuned_add(t, &(apus_tuned_row) { .problem = (char *)(uintptr_t)problem,
                                                          .narrow = narrow,
                                                          .choice = (char *)(uintptr_t)choice,
                                                          .ns = 1500,
                                                          .or_else = text_of_default,
                                                          .or_else_ns = 2000 }));
}

static apus_tuned *table(const char *problem, apus_narrow narrow, const char *choice)
{
    apus_tuned *t = NULL;

    if (CHECK_OK(apus_tuned_create(&t)))
        add(t, problem, narrow, choice);
    return t;
}

/* ---- what it changes ---- */

/* A product (5, 64) x (24, 64)' on an exec of its own. */
typedef struct product {
    apus_exec *exec;
    apus_graph g;
    store s;
    apus_tensor *y;
    apus_plan *plan;
    float out[5 * 24];
} product;

static bool product_open(product *p, apus_tuned *tuned, const char *force, apus_narrow narrow)
{
    const apus_plan_params params = { .name = "product", .force = force, .narrow = narrow };

    *p = (product) { 0 };
    if (!optest_exec() || !CHECK_OK(apus_exec_create(&p->exec, optest_gpu())) ||
        !CHECK_OK(apus_graph_init(&p->g))) {
        apus_tuned_destroy(&tuned);
        return false;
    }
    apus_exec_set_tuned(p->exec, tuned);
    CHECK(apus_exec_tuned(p->exec) == tuned);
    apus_tensor *a = store_tensor(&p->s, &p->g, "a", 5, 64, 1);
    apus_tensor *b = store_tensor(&p->s, &p->g, "b", 24, 64, 1);
    p->y = linear(&p->g, a, b);
    if (!p->y)
        return CHECK(false);
    p->y->keep = true;
    return CHECK_OK(apus_plan_create(&p->plan, p->exec, &p->g, &params)) &&
           CHECK_OK(apus_plan_run(p->plan, NULL)) &&
           CHECK_OK(apus_plan_read(p->plan, p->y, p->out, sizeof(p->out)));
}

static void product_close(product *p)
{
    apus_plan_destroy(&p->plan);
    apus_graph_release(&p->g);
    store_release(&p->s);
    apus_exec_destroy(&p->exec);
}

/* The plan's choice with a table (taken) is `choice`. */
static void chosen(apus_tuned *tuned, const char *force, apus_narrow narrow, const char *choice)
{
    char line[128];
    product p;

    snprintf(line, sizeof(line), PROBLEM ": %s\n", choice);
    if (product_open(&p, tuned, force, narrow))
        CHECK_EQ_STR(apus_plan_about(p.plan)->choices, line);
    product_close(&p);
}

TEST(a_file_changes_choices_and_their_hash)
{
    product plain, other;

    if (product_open(&plain, NULL, "", APUS_NARROW_NOT) &&
        product_open(&other, table(PROBLEM, APUS_NARROW_NOT, "plain"), "", APUS_NARROW_NOT)) {
        CHECK_EQ_STR(apus_plan_about(other.plan)->choices, PROBLEM ": plain\n");
        CHECK(strcmp(apus_plan_about(plain.plan)->choices, PROBLEM ": plain\n") != 0);
        CHECK(apus_plan_about(plain.plan)->choices_hash !=
              apus_plan_about(other.plan)->choices_hash);
        for (size_t i = 0; i < APUS_COUNT(plain.out); i++)
            CHECK_NEAR((double)plain.out[i], (double)other.out[i], 64 * 64 * 0x1p-24);
        product_close(&other);
    }
    product_close(&plain);
}

TEST(what_does_not_fit_leaves_the_default)
{
    product p;
    char now[64] = "";

    if (product_open(&p, NULL, "", APUS_NARROW_NOT))
        sscanf(apus_plan_about(p.plan)->choices, PROBLEM ": %63s", now);
    product_close(&p);
    if (!now[0])
        return;
    chosen(table(PROBLEM, APUS_NARROW_NOT, "no_such_algorithm"), "", APUS_NARROW_NOT, now);
    chosen(table(PROBLEM, APUS_NARROW_8, "int8"), "", APUS_NARROW_8, now); /* it takes quants */
    chosen(table(PROBLEM, APUS_NARROW_NOT, "tile/64x63"), "", APUS_NARROW_NOT, now);
    chosen(table("matmul nt 5x24x64 f16", APUS_NARROW_NOT, "plain"), "", APUS_NARROW_NOT, now);
    chosen(table(PROBLEM, APUS_NARROW_16, "plain"), "", APUS_NARROW_NOT, now);
    chosen(table(PROBLEM, APUS_NARROW_16, "plain"), "", APUS_NARROW_16, "plain");
    chosen(table(PROBLEM, APUS_NARROW_16, "plain"), "", APUS_NARROW_8, "plain");
    chosen(table(PROBLEM, APUS_NARROW_NOT, "plain"), "", APUS_NARROW_8, now);
    apus_tuned *both = table(PROBLEM, APUS_NARROW_16, "plain");
    add(both, PROBLEM, APUS_NARROW_8, "tile");
    chosen(both, "", APUS_NARROW_8, "tile");
    chosen(table(PROBLEM, APUS_NARROW_NOT, "tile/32x16"), "", APUS_NARROW_NOT, "tile/32x16");
    chosen(table(PROBLEM, APUS_NARROW_NOT, "plain"), "matmul:tile", APUS_NARROW_NOT, "tile");
    chosen(table(PROBLEM, APUS_NARROW_NOT, "coop"), "", APUS_NARROW_NOT, now); /* it rounds */
}

/* ---- the table and its file ---- */

static char *text_of(const apus_tuned *t)
{
    cJSON *json = apus_tuned_json(t, &gpu);
    char *text = apus_json_text(json, 2);

    cJSON_Delete(json);
    return text;
}

TEST(a_file_says_what_the_table_says)
{
    static const char *const problems[] = { "matmul nt 1x2x3 f32", "attention 3 of 64",
                                            "matmul nn 1x2x3 f32" };
    apus_tuned *t = NULL, *backwards = NULL, *read = NULL;
    apus_str why = { 0 };
    cJSON *json = NULL;

    REQUIRE_OK(apus_tuned_create(&t));
    REQUIRE_OK(apus_tuned_create(&backwards));
    for (uint32_t i = 0; i < 9; i++) {
        const uint32_t back = 8 - i;
        add(t, problems[i / 3], i % 3, i % 3 ? "tile/64x32" : "plain");
        add(backwards, problems[back / 3], back % 3, back % 3 ? "tile/64x32" : "plain");
    }
    CHECK_EQ_U64(t->n, 9);
    char *text = text_of(t), *other = text_of(backwards);
    CHECK_EQ_STR(text, other);
    CHECK_OK(apus_json_parse(&json, text, strlen(text), "file"));
    if (CHECK_OK(apus_tuned_read(&read, &why, json, "file", &gpu)) && CHECK(read != NULL)) {
        char *again = text_of(read);
        CHECK_EQ_STR(text, again);
        CHECK_EQ_U64(apus_tuned_hash(t), apus_tuned_hash(read));
        apus_free(again);
    }
    CHECK_EQ_U64(why.len, 0);
    CHECK_EQ_STR(apus_tuned_find(t, "attention 3 of 64", APUS_NARROW_8)->choice, "tile/64x32");
    CHECK_EQ_STR(apus_tuned_find(t, "attention 3 of 64", APUS_NARROW_NOT)->choice, "plain");
    CHECK(!apus_tuned_find(t, "attention 3 of 6", APUS_NARROW_NOT) &&
          !apus_tuned_find(NULL, "x", APUS_NARROW_NOT));
    const uint64_t before = apus_tuned_hash(t);
    add(t, "attention 3 of 64", APUS_NARROW_8, "tile"); /* in the place of the old one */
    CHECK(t->n == 9 && apus_tuned_hash(t) != before);
    cJSON_Delete(json);
    apus_free(text);
    apus_free(other);
    apus_tuned_destroy(&t);
    apus_tuned_destroy(&backwards);
    apus_tuned_destroy(&read);
}

/* A file with these rows, its hash as it should be or not. */
static char *file_with(const char *rows, const char *hash)
{
    return apus_format("{\"format\": \"apus tune\", \"version\": 1, \"device\": \"a GPU\", "
                       "\"driver\": \"a driver, 1.2\", "
                       "\"uuid\": \"010203fa000000000000000000000000\", \"driver_version\": 7, "
                       "\"shaders\": \"%016llx\", \"rows\": %s, \"hash\": \"%s\"}",
                       (unsigned long long)apus_kernels_hash(), rows, hash);
}

static apus_status read_text(apus_tuned **out, apus_str *why, const char *text)
{
    cJSON *json = NULL;
    apus_status st = apus_json_parse(&json, text, strlen(text), "file");

    if (st == APUS_OK)
        st = apus_tuned_read(out, why, json, "file", &gpu);
    cJSON_Delete(json);
    return st;
}

#define ROW(problem, bits, choice, or_else, ns)                                                    \
    "{\"problem\": " problem ", \"bits\": " bits ", \"choice\": " choice ", \"default\": " or_else \
    ", \"ns\": " ns ", \"default_ns\": 2000}"
#define FINE ROW("\"" PROBLEM "\"", "32", "\"cpu/4x1\"", "\"cpu\"", "1500")

TEST(hostile_files_are_refused)
{
    static const struct {
        const char *rows, *words;
    } bad[] = {
        { "3", "file: \"rows\" is no list" },
        { "{}", "file: \"rows\" is no list" },
        { "null", "file: \"rows\" is no list" },
        { "[3]", "file: row 1: \"problem\"" },
        { "[" FINE ", {}]", "file: row 2: \"problem\"" },
        { "[" ROW("\"\"", "32", "\"cpu\"", "\"cpu\"", "1") "]", "row 1: \"problem\"" },
        { "[" ROW("\"a\\nb\"", "32", "\"cpu\"", "\"cpu\"", "1") "]", "row 1: \"problem\"" },
        { "[" ROW("7", "32", "\"cpu\"", "\"cpu\"", "1") "]", "row 1: \"problem\"" },
        { "[" ROW("\"x\"", "24", "\"cpu\"", "\"cpu\"", "1") "]", "row 1: \"bits\"" },
        { "[" ROW("\"x\"", "false", "\"cpu\"", "\"cpu\"", "1") "]", "row 1: \"bits\"" },
        { "[" ROW("\"x\"", "32", "\"\"", "\"cpu\"", "1") "]", "row 1: \"choice\"" },
        { "[" ROW("\"x\"", "32", "\"../cpu\"", "\"cpu\"", "1") "]", "row 1: \"choice\"" },
        { "[" ROW("\"x\"", "32", "\"cpu/\"", "\"cpu\"", "1") "]", "row 1: \"choice\"" },
        { "[" ROW("\"x\"", "32", "\"cpu/4x\"", "\"cpu\"", "1") "]", "row 1: \"choice\"" },
        { "[" ROW("\"x\"", "32", "\"cpu/4,y:z\"", "\"cpu\"", "1") "]", "row 1: \"choice\"" },
        { "[" ROW("\"x\"", "32", "\"cpu/99999999999\"", "\"cpu\"", "1") "]", "row 1: \"choice\"" },
        { "[" ROW("\"x\"", "32", "[]", "\"cpu\"", "1") "]", "row 1: \"choice\"" },
        { "[" ROW("\"x\"", "32", "\"cpu\"", "\"c pu\"", "1") "]", "row 1: \"default\"" },
        { "[" ROW("\"x\"", "32", "\"cpu\"", "\"cpu\"", "0") "]", "row 1: \"ns\"" },
        { "[" ROW("\"x\"", "32", "\"cpu\"", "\"cpu\"", "-1") "]", "row 1: \"ns\"" },
        { "[" ROW("\"x\"", "32", "\"cpu\"", "\"cpu\"", "NaN") "]", "row 1: \"ns\"" },
        { "[" ROW("\"x\"", "32", "\"cpu\"", "\"cpu\"", "1e300") "]", "row 1: \"ns\"" },
        { "[" ROW("\"x\"", "32", "\"cpu\"", "\"cpu\"", "\"1\"") "]", "row 1: \"ns\"" },
        { "[" FINE "," FINE "]", "row 2: the problem stands there twice" },
        { "[" FINE "]", "the hash of its rows is" },
    };
    apus_tuned *t = NULL;
    apus_str why = { 0 };

    for (size_t i = 0; i < APUS_COUNT(bad); i++) {
        char *text = file_with(bad[i].rows, "0123456789abcdef");
        CHECK_FAILS(read_text(&t, &why, text), APUS_ERR_FORMAT, bad[i].words);
        CHECK(!t && !why.len);
        apus_free(text);
    }
    CHECK_FAILS(read_text(&t, &why, "[]"), APUS_ERR_FORMAT, "file: no tune file");
    CHECK_FAILS(read_text(&t, &why, "{\"format\": \"apus tunes\"}"), APUS_ERR_FORMAT, "no tune");
    CHECK_FAILS(read_text(&t, &why, "{\"format\": \"apus tune\"}"), APUS_ERR_FORMAT, "version");
    CHECK_FAILS(read_text(&t, &why, "{\"format\": \"apus tune\", \"version\": 2}"),
                APUS_ERR_SUPPORT, "version 2, this program reads 1");
}

TEST(too_many_or_too_long_rows_are_refused)
{
    apus_tuned *t = NULL;
    apus_str rows = { 0 }, why = { 0 };
    char name[APUS_PROBLEM_ROOM + 16];

    memset(name, 'x', sizeof(name));
    name[APUS_PROBLEM_ROOM] = '\0';
    apus_str_addf(&rows, "[" ROW("\"%s\"", "32", "\"cpu\"", "\"cpu\"", "1") "]", name);
    char *text = file_with(rows.data, "");
    CHECK_FAILS(read_text(&t, &why, text), APUS_ERR_FORMAT, "row 1: \"problem\"");
    apus_free(text);
    apus_str_clear(&rows);
    for (uint32_t i = 0; i <= APUS_TUNED_MOST; i++)
        apus_str_addf(&rows, "%c" ROW("\"p %u\"", "32", "\"cpu\"", "\"cpu\"", "1"), i ? ',' : '[',
                      i);
    apus_str_add(&rows, "]");
    text = file_with(rows.data, "");
    CHECK_FAILS(read_text(&t, &why, text), APUS_ERR_FORMAT, "more than 4096 rows");
    apus_free(text);
    apus_str_release(&rows);
}

TEST(a_file_of_something_else_is_not_used)
{
    static const struct {
        const char *from, *to, *why;
    } other[] = {
        { "a GPU", "b GPU", "it is of another device" },
        { "010203", "010204", "it is of another device" },
        { "1.2", "1.3", "it is of another version of the driver" },
        { "\"driver_version\": 7", "\"driver_version\": 8",
          "it is of another version of the driver" },
        { "\"shaders\": \"", "\"shaders\": \"0", "it is of a build with other shaders" },
    };

    for (size_t i = 0; i < APUS_COUNT(other); i++) {
        apus_tuned *t = NULL;
        apus_str why = { 0 };
        char *text = file_with("[]", ""), *at = strstr(text, other[i].from);
        char *changed = apus_format("%.*s%s%s", (int)(at - text), text, other[i].to,
                                    at + strlen(other[i].from));

        if (CHECK_OK(read_text(&t, &why, changed))) {
            CHECK(!t);
            CHECK_EQ_STR(why.data, other[i].why);
        }
        apus_free(changed);
        apus_free(text);
        apus_str_release(&why);
    }
}

/* ---- which file ---- */

/* What is said on loading; "": nothing. */
static void loaded(const char *words, bool used)
{
    apus_tuned *t = NULL;
    apus_str said = { 0 };

    if (CHECK_OK(apus_tuned_load(&t, &said, &gpu))) {
        CHECK((t != NULL) == used);
        if (!CHECK(words[0] ? said.data && strstr(said.data, words) : said.len == 0))
            printf("    said: %s\n", said.data ? said.data : "");
    }
    apus_str_release(&said);
    apus_tuned_destroy(&t);
}

TEST(the_file_of_the_device_or_the_one_that_is_named)
{
    apus_tuned *t = table(PROBLEM, false, text_of_choice), *none = NULL;
    apus_str said = { 0 };
    char folder[1024], named[1100];

    snprintf(folder, sizeof(folder), "%s/cache", harness_folder());
    snprintf(named, sizeof(named), "%s/named.json", harness_folder());
    setenv("APUS_CACHE_DIR", folder, 1);
    setenv("APUS_TUNE", "", 1);
    char *path = apus_tuned_path(&gpu);
    if (CHECK(path != NULL))
        CHECK(strstr(path, "/cache/tune-010203fa000000000000000000000000-00000007.json"));
    loaded("", false); /* there is none */
    CHECK_OK(apus_tuned_save(t, &gpu, path));
    loaded("1 problems", true);
    setenv("APUS_TUNE", "off", 1);
    loaded("", false);
    setenv("APUS_TUNE", named, 1);
    CHECK_FAILS(apus_tuned_load(&none, &said, &gpu), APUS_ERR_MISSING, "APUS_TUNE: ");
    CHECK_OK(apus_tuned_save(t, &gpu, named));
    loaded("named.json: 1 problems", true);
    CHECK_OK(apus_file_write(named, "{\"format\"", 9));
    CHECK_FAILS(apus_tuned_load(&none, &said, &gpu), APUS_ERR_FORMAT, "named.json: line 1");
    CHECK_OK(apus_file_write(path, "{\"format\"", 9));
    setenv("APUS_TUNE", "", 1);
    loaded("the file is not used", false); /* which is no reason not to run */
    apus_caps newer = gpu;
    newer.driver_version = 8;
    CHECK_OK(apus_tuned_save(t, &newer, path));
    loaded("is not used: it is of another version of the driver", false);
    setenv("APUS_TUNE", "off", 1);
    apus_free(path);
    apus_tuned_destroy(&t);
}

/* ---- measuring ---- */

typedef struct seen {
    uint32_t steps, rows, without_time;
    apus_cancel cancel;
    bool stop;
} seen;

static void see_progress(void *user, uint32_t done, uint32_t total, const char *problem)
{
    seen *s = user;

    CHECK(done < total && !strcmp(problem, PROBLEM));
    s->steps++;
    s->cancel.requested = s->stop;
}

static void see_row(void *user, const apus_tuned_row *row)
{
    seen *s = user;

    CHECK_EQ_STR(row->problem, PROBLEM);
    s->rows++;
    s->without_time += !(row->ns > 0);
}

static apus_status tune(product *p, apus_tuned *into, double seconds, seen *s,
                        apus_tuner_result *result)
{
    const apus_tuner_params params = { .seconds = seconds,
                                       .cancel = &s->cancel,
                                       .progress = see_progress,
                                       .measured = see_row,
                                       .user = s };

    return apus_tuner_run(p->exec, &p->plan, 1, into, &params, result);
}

TEST(a_plan_is_measured)
{
    apus_tuned *found = NULL;
    apus_tuner_result result;
    product p;
    seen listed = { 0 }, stopped = { .stop = true }, all = { 0 }, again = { 0 };

    REQUIRE_OK(apus_tuned_create(&found));
    if (product_open(&p, NULL, "", APUS_NARROW_NOT)) {
        CHECK_OK(tune(&p, found, 0, &listed, &result)); /* only a list */
        CHECK(result.problems == 1 && result.measured == 0 && found->n == 0);
        CHECK(listed.rows == 1 && listed.without_time == 1 && listed.steps == 0);
        CHECK_FAILS(tune(&p, found, 60, &stopped, &result), APUS_ERR_CANCELLED, "interrupted");
        CHECK(found->n == 0 && stopped.rows == 0);
        CHECK_OK(tune(&p, found, 1e-9, &all, &result)); /* the first one in any case */
        CHECK(result.problems == 1 && result.measured == 1 && found->n == 1);
        CHECK(all.rows == 1 && all.without_time == 0 && all.steps > 4);
        const apus_tuned_row *row = apus_tuned_find(found, PROBLEM, APUS_NARROW_NOT);
        if (CHECK(row != NULL)) {
            CHECK(row->ns > 0 && row->ns <= row->or_else_ns);
            CHECK(!strncmp(apus_plan_about(p.plan)->choices + strlen(PROBLEM ": "), row->or_else,
                           strlen(row->or_else)));
            chosen(table(PROBLEM, APUS_NARROW_NOT, row->choice), "", APUS_NARROW_NOT, row->choice);
        }
        CHECK_OK(tune(&p, found, 60, &again, &result)); /* nothing is left */
        CHECK(result.problems == 0 && again.rows == 0 && again.steps == 0);
    }
    product_close(&p);
    apus_tuned_destroy(&found);
}
