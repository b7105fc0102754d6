/* cache.c - the paged key-value cache.  See cache.h. */
#include "cache.h"

static uint64_t plane_bytes(const apus_cache *c)
{
    const uint64_t row = (uint64_t)c->row_width * apus_dtype_of(c->dtype)->block_bytes;

    return apus_round_up((uint64_t)c->n_pages * APUS_PAGE_TOKENS * row, 256);
}

uint64_t apus_cache_bytes(uint32_t layers, uint32_t row_width, uint32_t tokens, apus_dtype dtype)
{
    const apus_cache c = { .row_width = row_width,
                           .dtype = dtype,
                           .n_pages = (uint32_t)apus_ceil_div(tokens, APUS_PAGE_TOKENS) };

    return plane_bytes(&c) * 2 * layers;
}

apus_status apus_cache_init(apus_cache *c, apus_gpu *gpu, uint32_t layers, uint32_t row_width,
                            uint32_t tokens, apus_dtype dtype)
{
    *c = (apus_cache) { .gpu = gpu,
                        .layers = layers,
                        .row_width = row_width,
                        .dtype = dtype,
                        .n_pages = (uint32_t)apus_ceil_div(tokens, APUS_PAGE_TOKENS) };
    c->n_free = c->n_pages;
    c->refs = apus_calloc(c->n_pages, sizeof(*c->refs));
    if (!c->refs)
        return APUS_ERR_MEMORY;
    return apus_buffer_create(gpu, &c->buffer, plane_bytes(c) * 2 * layers, APUS_MEMORY_DEVICE,
                              "cache");
}

void apus_cache_release(apus_cache *c)
{
    if (c->gpu)
        apus_buffer_destroy(c->gpu, &c->buffer);
    apus_free(c->refs);
    *c = (apus_cache) { 0 };
}

apus_addr apus_cache_keys(const apus_cache *c, uint32_t layer)
{
    return c->buffer.address + 2 * layer * plane_bytes(c);
}

apus_addr apus_cache_values(const apus_cache *c, uint32_t layer)
{
    return c->buffer.address + (2 * (uint64_t)layer + 1) * plane_bytes(c);
}

static apus_status take_page(apus_cache *c, uint32_t *page)
{
    for (uint32_t i = 0; c->n_free && i < c->n_pages; i++)
        if (!c->refs[i]) {
            c->refs[i] = 1;
            c->n_free--;
            *page = i;
            return APUS_OK;
        }
    return apus_fail(APUS_ERR_MEMORY,
                     "the cache is full: it holds %u tokens; use a larger --max_length "
                     "or a shorter text",
                     c->n_pages * APUS_PAGE_TOKENS);
}

static void drop_page(apus_cache *c, uint32_t page)
{
    if (--c->refs[page] == 0)
        c->n_free++;
}

/* Copy a page of every layer, so that a shared one can be written. */
static apus_status copy_page(apus_cache *c, uint32_t from, uint32_t to)
{
    apus_status st = APUS_OK;
    const uint64_t bytes =
        (uint64_t)APUS_PAGE_TOKENS * c->row_width * apus_dtype_of(c->dtype)->block_bytes;
    void *rows = apus_alloc(bytes);

    if (!rows)
        return APUS_ERR_MEMORY;
    for (uint64_t plane = 0; plane < 2 * (uint64_t)c->layers; plane++) {
        APUS_TRY(apus_buffer_read(c->gpu, &c->buffer, plane * plane_bytes(c) + from * bytes, rows,
                                  bytes));
        APUS_TRY(apus_buffer_write(c->gpu, &c->buffer, plane * plane_bytes(c) + to * bytes, rows,
                                   bytes));
    }
fail:
    apus_free(rows);
    return st;
}

/* A sequence's list has room for all pages of the cache from the start: no step allocates. */
static apus_status room_for_all(const apus_cache *c, apus_sequence *s)
{
    if (s->room >= c->n_pages)
        return APUS_OK;
    uint32_t *pages = apus_realloc(s->pages, (size_t)c->n_pages * sizeof(*pages));
    if (!pages)
        return APUS_ERR_MEMORY;
    s->pages = pages;
    s->room = c->n_pages;
    return APUS_OK;
}

apus_status apus_cache_reserve(apus_cache *c, apus_sequence *s, uint32_t more)
{
    const uint32_t want = (uint32_t)apus_ceil_div((uint64_t)s->length + more, APUS_PAGE_TOKENS);
    const uint32_t at = s->length / APUS_PAGE_TOKENS;

    APUS_FORWARD(room_for_all(c, s));
    if (s->length % APUS_PAGE_TOKENS && at < s->n_pages && c->refs[s->pages[at]] > 1) {
        uint32_t page = 0;
        APUS_FORWARD(take_page(c, &page));
        const apus_status st = copy_page(c, s->pages[at], page);
        if (st != APUS_OK) {
            drop_page(c, page);
            return st;
        }
        drop_page(c, s->pages[at]);
        s->pages[at] = page;
    }
    while (s->n_pages < want) {
        APUS_FORWARD(take_page(c, &s->pages[s->n_pages]));
        s->n_pages++;
    }
    return APUS_OK;
}

void apus_cache_truncate(apus_cache *c, apus_sequence *s, uint32_t length)
{
    const uint32_t keep = (uint32_t)apus_ceil_div(length, APUS_PAGE_TOKENS);

    if (length >= s->length)
        return;
    while (s->n_pages > keep)
        drop_page(c, s->pages[--s->n_pages]);
    s->length = length;
}

apus_status apus_cache_fork(apus_cache *c, const apus_sequence *from, apus_sequence *to)
{
    *to = (apus_sequence) { 0 };
    APUS_FORWARD(room_for_all(c, to));
    memcpy(to->pages, from->pages, from->n_pages * sizeof(*from->pages));
    to->n_pages = from->n_pages;
    to->length = from->length;
    for (uint32_t i = 0; i < to->n_pages; i++)
        c->refs[to->pages[i]]++;
    return APUS_OK;
}

void apus_sequence_release(apus_cache *c, apus_sequence *s)
{
    while (s->n_pages)
        drop_page(c, s->pages[--s->n_pages]);
    apus_free(s->pages);
    *s = (apus_sequence) { 0 };
}
