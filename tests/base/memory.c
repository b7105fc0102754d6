/* memory.c - host memory, arenas and growing texts, also when memory runs out. */
#include <stdio.h>

#include "arena.h"
#include "env.h"
#include "harness.h"
#include "str.h"

static bool all_zero(const void *p, size_t bytes)
{
    const unsigned char *c = p;

    for (size_t i = 0; i < bytes; i++) {
        if (c[i])
            return false;
    }
    return true;
}

TEST(memory_is_zeroed)
{
    unsigned char *p = apus_alloc(1000);

    REQUIRE(p);
    CHECK(all_zero(p, 1000));
    p[999] = 7;
    p = apus_realloc(p, 5000);
    REQUIRE(p);
    CHECK_EQ_U64(p[999], 7);
    apus_free(p);
    p = apus_calloc(33, 3);
    CHECK(p && all_zero(p, 99));
    apus_free(p);
    p = apus_alloc(0);
    CHECK(p);
    apus_free(p);
    apus_free(NULL);
}

TEST(too_much_is_refused)
{
    CHECK(!apus_calloc(SIZE_MAX / 2, 3));
    CHECK(strstr(apus_error_text(), "memory ran out"));
    CHECK(!apus_alloc(SIZE_MAX / 2 + 1));
}

TEST(lists_grow)
{
    uint32_t *list = NULL;
    size_t room = 0;

    for (uint32_t i = 0; i < 1000; i++) {
        const size_t before = room;

        REQUIRE_OK(apus_grow(&list, i, 1, &room, sizeof(*list)));
        CHECK(room > i && (room == before || room >= 2 * before));
        list[i] = i;
    }
    for (uint32_t i = 0; i < 1000; i++)
        CHECK_EQ_U64(list[i], i);
    REQUIRE_OK(apus_grow(&list, 1000, 100000, &room, sizeof(*list)));
    CHECK(room >= 101000);
    CHECK_EQ_U64(list[999], 999);
    /* What cannot be had leaves the list as it was. */
    const size_t before = room;
    const uint32_t *const place = list;
    CHECK_FAILS(apus_grow(&list, 1000, SIZE_MAX - 1000, &room, sizeof(*list)), APUS_ERR_MEMORY,
                "memory ran out");
    CHECK_FAILS(apus_grow(&list, 1000, SIZE_MAX, &room, sizeof(*list)), APUS_ERR_MEMORY, "ran out");
    apus_fault_set(APUS_FAULT_HOST_ALLOC, 1);
    CHECK_FAILS(apus_grow(&list, room, 1, &room, sizeof(*list)), APUS_ERR_MEMORY, "ran out");
    CHECK(room == before && list == place);
    apus_free(list);
}

TEST(texts_are_copied)
{
    char *a = apus_strdup("abc"), *b = apus_strndup("abcdef", 4), *c = apus_strndup("ab", 40);
    char *d = apus_format("%s-%d-%s", "x", -5, "y"), *e = apus_format("%s", "");

    CHECK_EQ_STR(a, "abc");
    CHECK_EQ_STR(b, "abcd");
    CHECK_EQ_STR(c, "ab");
    CHECK_EQ_STR(d, "x--5-y");
    CHECK_EQ_STR(e, "");
    apus_free(a);
    apus_free(b);
    apus_free(c);
    apus_free(d);
    apus_free(e);
}

TEST(nth_allocation_fails)
{
    void *p[4];

    apus_fault_set(APUS_FAULT_HOST_ALLOC, 3);
    for (int i = 0; i < 4; i++)
        p[i] = i % 2 ? apus_realloc(NULL, 8) : apus_alloc(8);
    CHECK(p[0] && p[1] && !p[2] && p[3]);
    CHECK_EQ_STR(apus_error_text(), "host memory ran out (asked for 8 bytes)");
    for (int i = 0; i < 4; i++)
        apus_free(p[i]);
    apus_fault_set(APUS_FAULT_HOST_ALLOC, 1);
    CHECK(!apus_format("%d", 1));
    apus_fault_set(APUS_FAULT_HOST_ALLOC, 1);
    apus_fault_set(APUS_FAULT_HOST_ALLOC, 0);
    char *text = apus_strdup("switched off");
    CHECK(text);
    apus_free(text);
}

TEST(arena_pieces_are_zero_aligned_and_apart)
{
    enum { N = 2000 };
    static unsigned char *pieces[N];
    apus_arena arena = { 0 };
    size_t asked = 0;

    for (size_t i = 0; i < N; i++) {
        const size_t bytes = i * 37 % 251;
        pieces[i] = apus_arena_alloc(&arena, bytes);
        REQUIRE(pieces[i]);
        CHECK_EQ_U64((uintptr_t)pieces[i] % 16, 0);
        if (!CHECK(all_zero(pieces[i], bytes)))
            break;
        memset(pieces[i], (int)(i % 255 + 1), bytes);
        asked += bytes;
    }
    CHECK(arena.bytes >= asked && arena.bytes <= asked + N * 16);
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j < i * 37 % 251; j++) {
            if (!CHECK(pieces[i][j] == i % 255 + 1))
                i = N - 1;
        }
    }
    apus_arena_release(&arena);
    CHECK(!arena.head && !arena.bytes);
    apus_arena_release(&arena);
}

TEST(arena_takes_large_pieces)
{
    apus_arena arena = { 0 };
    char *small = apus_arena_strdup(&arena, "small");
    unsigned char *large = apus_arena_alloc(&arena, 300000);
    char *after = apus_arena_format(&arena, "%s %d", small, 2);

    REQUIRE(small && large && after);
    CHECK(all_zero(large, 300000));
    memset(large, 255, 300000);
    CHECK_EQ_STR(small, "small");
    CHECK_EQ_STR(after, "small 2");
    /* The large piece did not end the use of the first block. */
    CHECK(after > small && after < small + 64);
    CHECK(!apus_arena_alloc(&arena, SIZE_MAX - 3));
    apus_arena_release(&arena);
}

TEST(arena_without_memory)
{
    apus_arena arena = { 0 };

    apus_fault_set(APUS_FAULT_HOST_ALLOC, 1);
    CHECK(!apus_arena_strdup(&arena, "x"));
    CHECK(apus_arena_strdup(&arena, "x"));
    apus_arena_release(&arena);
}

TEST(str_grows)
{
    apus_str s = { 0 };
    char expected[6000] = "";
    size_t n = 0;

    for (int i = 0; i < 1000; i++) {
        apus_str_addf(&s, "%d,", i);
        n += (size_t)snprintf(expected + n, sizeof expected - n, "%d,", i);
    }
    CHECK_EQ_STR(s.data, expected);
    CHECK_EQ_U64(s.len, n);
    apus_str_clear(&s);
    CHECK_EQ_U64(s.len, 0);
    CHECK_EQ_STR(s.data, "");
    apus_str_add(&s, "a");
    apus_str_add_bytes(&s, "b\0c", 3);
    CHECK_EQ_U64(s.len, 4);
    CHECK(!memcmp(s.data, "ab\0c", 5));
    apus_str_release(&s);
    CHECK(!s.data);
    apus_str_release(&s);
    apus_str_add(&s, "");
    CHECK_EQ_STR(s.data, "");
    apus_str_release(&s);
}

TEST(str_remembers_a_failure)
{
    apus_str s = { 0 };

    apus_str_add(&s, "kept");
    apus_fault_set(APUS_FAULT_HOST_ALLOC, 1);
    for (int i = 0; i < 20; i++)
        apus_str_add(&s, "0123456789");
    CHECK(s.failed);
    CHECK_EQ_U64(s.len, 4 + 50);
    apus_str_addf(&s, "%d", 5);
    CHECK_EQ_U64(s.len, 4 + 50);
    apus_str_clear(&s);
    CHECK(!s.failed);
    apus_str_release(&s);
}
