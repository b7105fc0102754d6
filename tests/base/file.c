/* file.c - files and folders, and each of their calls failing in turn. */
#include "file.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "env.h"
#include "harness.h"

/* A name in the folder of the test; freed by the caller. */
static char *in_folder(const char *name)
{
    return apus_path_join(harness_folder(), name);
}

/* The file holds exactly this text. */
static bool holds(const char *path, const char *expected)
{
    char *text;
    size_t bytes;

    if (apus_file_read(&text, &bytes, path, 1 << 20) != APUS_OK)
        return false;
    const bool same = bytes == strlen(expected) && !memcmp(text, expected, bytes + 1);
    apus_free(text);
    return same;
}

static size_t names_in(const char *path)
{
    char **names;
    size_t n;

    if (!CHECK_OK(apus_dir_list(&names, &n, path)))
        return SIZE_MAX;
    for (size_t i = 0; i < n; i++)
        apus_free(names[i]);
    apus_free(names);
    return n;
}

TEST(names)
{
    static const char *const joins[][3] = {
        { "a", "b", "a/b" }, { "a/", "b", "a/b" }, { "", "b", "b" },
        { "a", "/b", "/b" }, { "/", "b", "/b" },
    };

    for (size_t i = 0; i < APUS_COUNT(joins); i++) {
        char *path = apus_path_join(joins[i][0], joins[i][1]);
        CHECK_EQ_STR(path, joins[i][2]);
        apus_free(path);
    }
    CHECK_EQ_STR(apus_path_base("a/b/c.txt"), "c.txt");
    CHECK_EQ_STR(apus_path_base("c.txt"), "c.txt");
    CHECK_EQ_STR(apus_path_base("a/"), "");
}

TEST(write_then_read)
{
    char *path = in_folder("plain");
    char *text;
    size_t bytes;
    uint64_t length;

    CHECK_OK(apus_file_write(path, "first", 5));
    CHECK(holds(path, "first"));
    CHECK_OK(apus_file_write(path, "a\0b", 3));
    CHECK_OK(apus_file_read(&text, &bytes, path, 3));
    CHECK_EQ_U64(bytes, 3);
    CHECK(!memcmp(text, "a\0b", 4));
    apus_free(text);
    CHECK_FAILS(apus_file_read(&text, &bytes, path, 2), APUS_ERR_FORMAT, "has 3 bytes, at most 2");
    CHECK(!text && !bytes);
    CHECK_OK(apus_file_write(path, NULL, 0));
    CHECK(holds(path, ""));
    CHECK_OK(apus_file_append(path, "one\n", 4));
    CHECK_OK(apus_file_append(path, "two\n", 4));
    CHECK(holds(path, "one\ntwo\n"));
    CHECK_OK(apus_file_bytes(&length, path));
    CHECK_EQ_U64(length, 8);
    CHECK_OK(apus_file_cut(path, 9)); /* is not made longer */
    CHECK_OK(apus_file_cut(path, 4));
    CHECK(holds(path, "one\n"));
    CHECK_OK(apus_file_append(path, "2\n", 2));
    CHECK(holds(path, "one\n2\n"));
    CHECK_OK(apus_path_remove(path));
    CHECK(!apus_path_exists(path));
    CHECK_OK(apus_path_remove(path));
    CHECK_OK(apus_file_bytes(&length, path));
    CHECK_EQ_U64(length, 0);
    CHECK_OK(apus_file_cut(path, 0));
    CHECK(!apus_path_exists(path));
    CHECK_FAILS(apus_file_bytes(&length, harness_folder()), APUS_ERR_IO, "is a directory");
    apus_free(path);
}

TEST(errors_name_path_and_reason)
{
    const char *folder = harness_folder();
    char *path = in_folder("none/file");
    char *text, **names;
    size_t n;
    apus_map map;

    CHECK_FAILS(apus_file_read(&text, &n, path, 9), APUS_ERR_MISSING,
                "none/file: no such file or directory");
    CHECK_FAILS(apus_map_open(&map, path), APUS_ERR_MISSING, "none/file: no such file");
    CHECK_FAILS(apus_map_open(&map, folder), APUS_ERR_IO, "is a directory");
    CHECK_FAILS(apus_file_read(&text, &n, folder, 9), APUS_ERR_IO, "is a directory");
    CHECK_FAILS(apus_file_read(&text, &n, "/dev/zero", 9), APUS_ERR_IO, "not a plain file");
    CHECK_FAILS(apus_file_write(path, "x", 1), APUS_ERR_IO, "none/file: no such file");
    CHECK_FAILS(apus_file_append(path, "x", 1), APUS_ERR_IO, "none/file: no such file");
    CHECK_FAILS(apus_dir_list(&names, &n, path), APUS_ERR_MISSING, "none/file: no such file");
    CHECK_FAILS(apus_path_rename(path, folder), APUS_ERR_MISSING, "none/file: no such file");
    /* A device that is always full stands for a full disk. */
    CHECK_FAILS(apus_file_append("/dev/full", "x", 1), APUS_ERR_IO,
                "/dev/full: no space left on device");
    apus_free(path);
}

TEST(map)
{
    char *path = in_folder("mapped");
    apus_map map = { 0 };

    apus_map_close(&map);
    REQUIRE_OK(apus_file_write(path, "hello", 5));
    REQUIRE_OK(apus_map_open(&map, path));
    CHECK_EQ_U64(map.bytes, 5);
    CHECK(!memcmp(map.data, "hello", 5));
    /* The mapping keeps what it had when the name gets another file. */
    REQUIRE_OK(apus_file_write(path, "other", 5));
    CHECK(!memcmp(map.data, "hello", 5));
    apus_map_close(&map);
    CHECK(!map.data && !map.bytes);
    REQUIRE_OK(apus_file_write(path, "", 0));
    REQUIRE_OK(apus_map_open(&map, path));
    CHECK_EQ_U64(map.bytes, 0);
    CHECK(map.data);
    apus_map_close(&map);
    CHECK_OK(apus_path_remove(path));
    apus_free(path);
}

/* Pages of this process that are resident. */
static uint64_t resident(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long long all, held = 0;

    CHECK(f && fscanf(f, "%llu %llu", &all, &held) == 2);
    if (f)
        fclose(f);
    return held;
}

TEST(what_is_forgotten_leaves_memory_and_comes_back)
{
    const size_t bytes = 32u << 20;
    char *path = in_folder("forgotten"), *all = apus_alloc(bytes);
    apus_map map = { 0 };
    uint64_t sum = 0;

    memset(all, 3, bytes);
    REQUIRE_OK(apus_file_write(path, all, bytes));
    apus_free(all);
    REQUIRE_OK(apus_map_open(&map, path));
    for (size_t i = 0; i < bytes; i++)
        sum += map.data[i];
    const uint64_t held = resident();
    apus_map_forget(map.data + 5000, bytes - 9000); /* not from a page on, nor to one */
    apus_map_forget(map.data, 0);
    CHECK(resident() + bytes / (size_t)sysconf(_SC_PAGESIZE) * 9 / 10 <= held);
    for (size_t i = 0; i < bytes; i++)
        sum += map.data[i];
    CHECK_EQ_U64(sum, 6 * (uint64_t)bytes);
    apus_map_close(&map);
    CHECK_OK(apus_path_remove(path));
    apus_free(path);
}

TEST(writer_shows_nothing_before_commit)
{
    char *folder = in_folder("writer"), *path = in_folder("writer/file");
    apus_writer w = { 0 };

    apus_writer_release(&w);
    REQUIRE_OK(apus_dir_create(folder));
    REQUIRE_OK(apus_writer_open(&w, path));
    CHECK_OK(apus_writer_add(&w, "ab", 2));
    CHECK_OK(apus_writer_add(&w, "cde", 3));
    CHECK_EQ_U64(w.bytes, 5);
    CHECK(!apus_path_exists(path));
    CHECK_EQ_U64(names_in(folder), 1);
    CHECK_OK(apus_writer_commit(&w));
    CHECK(holds(path, "abcde"));
    apus_writer_release(&w);

    REQUIRE_OK(apus_writer_open(&w, path));
    CHECK_OK(apus_writer_add(&w, "dropped", 7));
    apus_writer_release(&w);
    CHECK(holds(path, "abcde"));
    CHECK_EQ_U64(names_in(folder), 1);
    apus_free(folder);
    apus_free(path);
}

/* At each call that can fail: an error, the old content or the new, and no file left beside. */
static void write_failing(apus_fault kind, uint64_t least_calls)
{
    char *folder = in_folder("failing"), *path = in_folder("failing/file");
    uint64_t n = 1;

    REQUIRE_OK(apus_dir_create(folder));
    for (;; n++) {
        REQUIRE_OK(apus_file_write(path, "old", 3));
        apus_fault_set(kind, n);
        const apus_status st = apus_file_write(path, "new!", 4);
        apus_fault_set(kind, 0);
        CHECK_EQ_U64(names_in(folder), 1);
        if (st == APUS_OK)
            break;
        CHECK(st == (kind == APUS_FAULT_FILE ? APUS_ERR_IO : APUS_ERR_MEMORY));
        CHECK(holds(path, "old") || holds(path, "new!"));
        if (!CHECK(n < 50))
            break;
    }
    CHECK(holds(path, "new!"));
    CHECK(n > least_calls);
    apus_free(folder);
    apus_free(path);
}

TEST(write_fails_at_each_call)
{
    /* open, write, sync, rename, open and sync of the folder */
    write_failing(APUS_FAULT_FILE, 6);
    write_failing(APUS_FAULT_HOST_ALLOC, 3);
}

TEST(read_fails_at_each_call)
{
    char *path = in_folder("readable");
    char *text;
    size_t bytes;
    apus_map map;

    REQUIRE_OK(apus_file_write(path, "abc", 3));
    for (uint64_t n = 1; n <= 2; n++) {
        apus_fault_set(APUS_FAULT_FILE, n);
        CHECK_FAILS(apus_file_read(&text, &bytes, path, 99), APUS_ERR_IO, "readable: ");
        CHECK(!text);
    }
    apus_fault_set(APUS_FAULT_FILE, 1);
    CHECK_FAILS(apus_map_open(&map, path), APUS_ERR_IO, "readable: ");
    apus_fault_set(APUS_FAULT_HOST_ALLOC, 1);
    CHECK_FAILS(apus_file_read(&text, &bytes, path, 99), APUS_ERR_MEMORY, "memory ran out");
    apus_fault_set(APUS_FAULT_HOST_ALLOC, 0);
    CHECK(holds(path, "abc"));
    apus_free(path);
}

TEST(full_disk_is_named)
{
    char *path = in_folder("full");
    apus_writer w;

    REQUIRE_OK(apus_writer_open(&w, path));
    apus_fault_set(APUS_FAULT_FILE, 1);
    CHECK_FAILS(apus_writer_add(&w, "x", 1), APUS_ERR_IO, "full: no space left on device");
    apus_writer_release(&w);
    CHECK(!apus_path_exists(path));
    apus_free(path);
}

TEST(folders)
{
    char *top = in_folder("d"), *deep = in_folder("d/e/f"), *file = in_folder("d/e/f/x");
    char **names;
    size_t n;

    CHECK_OK(apus_dir_create(deep));
    CHECK_OK(apus_dir_create(deep));
    CHECK(apus_path_is_dir(deep));
    CHECK_OK(apus_file_write(file, "x", 1));
    CHECK(apus_path_exists(file) && !apus_path_is_dir(file));
    CHECK_FAILS(apus_dir_create(file), APUS_ERR_IO, "d/e/f/x: file exists");
    char *more[] = { in_folder("d/b"), in_folder("d/B"), in_folder("d/\xc3\xa9"),
                     in_folder("d/a") };
    for (size_t i = 0; i < APUS_COUNT(more); i++) {
        CHECK_OK(apus_file_write(more[i], "", 0));
        apus_free(more[i]);
    }
    REQUIRE_OK(apus_dir_list(&names, &n, top));
    static const char *const sorted[] = { "B", "a", "b", "e", "\xc3\xa9" };
    CHECK_EQ_U64(n, APUS_COUNT(sorted));
    for (size_t i = 0; i < n; i++) {
        CHECK_EQ_STR(names[i], sorted[i]);
        apus_free(names[i]);
    }
    apus_free(names);
    CHECK_OK(apus_dir_sync(top));
    CHECK_OK(apus_path_remove(top));
    CHECK(!apus_path_exists(top));
    apus_free(top);
    apus_free(deep);
    apus_free(file);
}

TEST(links)
{
    char *folder = in_folder("links"), *link = in_folder("links/last");
    char *one = in_folder("links/one"), *kept = in_folder("links/one/kept");
    char target[16] = { 0 };

    REQUIRE_OK(apus_dir_create(one));
    REQUIRE_OK(apus_file_write(kept, "k", 1));
    CHECK_OK(apus_symlink_replace("nowhere", link));
    CHECK_OK(apus_symlink_replace("one", link));
    CHECK(readlink(link, target, sizeof target - 1) == 3);
    CHECK_EQ_STR(target, "one");
    CHECK_EQ_U64(names_in(folder), 2);
    /* Removing a link leaves what it points to. */
    CHECK_OK(apus_path_remove(link));
    CHECK(apus_path_exists(kept));
    char *away = in_folder("away");
    CHECK_OK(apus_path_rename(folder, away));
    CHECK(!apus_path_exists(folder) && apus_path_is_dir(away));
    apus_free(away);
    apus_free(folder);
    apus_free(link);
    apus_free(one);
    apus_free(kept);
}

TEST(removing_fails_at_each_call)
{
    char *top = in_folder("r"), *deep = in_folder("r/s"), *file = in_folder("r/s/x");
    uint64_t n = 1;

    REQUIRE_OK(apus_dir_create(deep));
    REQUIRE_OK(apus_file_write(file, "x", 1));
    for (;; n++) {
        apus_fault_set(APUS_FAULT_FILE, n);
        const apus_status st = apus_path_remove(top);
        apus_fault_set(APUS_FAULT_FILE, 0);
        if (st == APUS_OK || !CHECK(st == APUS_ERR_IO) || !CHECK(n < 50))
            break;
        CHECK(apus_path_exists(top));
    }
    CHECK(n > 2);
    CHECK(!apus_path_exists(top));
    apus_free(top);
    apus_free(deep);
    apus_free(file);
}

TEST(absolute_paths)
{
    char *root = apus_path_absolute(harness_folder());
    char *absent = in_folder("absent"), *same = apus_path_absolute(absent);
    char *dots = in_folder("./../"), *parent = apus_path_absolute(dots);
    char *relative = apus_path_absolute("no-such-file");

    CHECK(root && root[0] == '/');
    CHECK(same && !strcmp(apus_path_base(same), "absent") && same[0] == '/');
    CHECK(parent && root && !strncmp(root, parent, strlen(parent)) && !strstr(parent, ".."));
    CHECK(relative && relative[0] == '/' && !strcmp(apus_path_base(relative), "no-such-file"));
    apus_free(root);
    apus_free(absent);
    apus_free(same);
    apus_free(dots);
    apus_free(parent);
    apus_free(relative);
}

TEST(free_space)
{
    char *absent = in_folder("not/yet/there");
    uint64_t here = 0, there = 0;

    CHECK_OK(apus_disk_free(harness_folder(), &here));
    CHECK(here > 0);
    CHECK_OK(apus_disk_free(absent, &there));
    /* The same file system; others write to it meanwhile. */
    CHECK(there > here / 2 && there < here * 2);
    CHECK_OK(apus_disk_free("no-such-file", &there));
    CHECK(there > 0);
    apus_free(absent);
}
