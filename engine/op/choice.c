/* choice.c - finding and listing choices.  See choice.h. */
#include "choice.h"

#include <stdio.h>

void apus_tile_add(apus_tile *list, uint32_t *n, uint32_t room, apus_tile tile)
{
    for (uint32_t i = 0; i < *n; i++)
        if (!memcmp(&list[i], &tile, sizeof(tile)))
            return;
    if (*n < room)
        list[(*n)++] = tile;
}

static uint32_t tiles_of(const apus_choosing *from, const apus_variant *v,
                         apus_tile tiles[APUS_MOST_TILES])
{
    uint32_t n = v->tiles ? v->tiles(from->caps, from->problem, tiles, APUS_MOST_TILES) : 0;

    if (n == 0) {
        tiles[0] = (apus_tile) { 0 };
        n = 1;
    }
    return n;
}

static bool fits(const apus_choosing *from, const apus_variant *v)
{
    return (!v->kernel || apus_kernel_exists(v->kernel)) &&
           (!v->fits || v->fits(from->caps, from->problem));
}

static void tile_text(char out[APUS_CHOICE_ROOM], const apus_tile *tile)
{
    size_t at = 0;

    out[0] = '\0';
    for (uint32_t i = 0; i < tile->n; i++)
        at += (size_t)snprintf(out + at, APUS_CHOICE_ROOM - at, "%s%u", i ? "x" : "", tile->v[i]);
}

void apus_choice_text(char out[APUS_CHOICE_ROOM], const apus_choice *choice)
{
    char tile[APUS_CHOICE_ROOM] = "";

    if (choice->at)
        tile_text(tile, &choice->tile);
    snprintf(out, APUS_CHOICE_ROOM, "%s%s%.44s", choice->variant->name, choice->at ? "/" : "",
             tile);
}

bool apus_choice_is_text(const char *text, size_t n, size_t *name_bytes)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_", digits[] = "0123456789";
    const size_t name = strspn(text, letters);
    size_t at = name;

    *name_bytes = name;
    if (name == 0 || name > n || n >= APUS_CHOICE_ROOM)
        return false;
    for (char before = '/'; at < n; before = 'x') {
        const size_t number = text[at] == before ? strspn(text + at + 1, digits) : 0;

        if (number == 0 || number > 9)
            return false;
        at += 1 + number;
    }
    return at == n;
}

/* Is this the variant that the n bytes name, with a tile that it has for the problem? */
static bool named(const apus_choosing *from, const apus_variant *v, const char *text, size_t n,
                  apus_choice *out)
{
    apus_tile tiles[APUS_MOST_TILES];
    char tile[APUS_CHOICE_ROOM];
    const size_t name = strlen(v->name);

    if (n < name || memcmp(text, v->name, name) || (n > name && text[name] != '/') ||
        !fits(from, v))
        return false;
    const uint32_t n_tiles = tiles_of(from, v, tiles);
    for (uint32_t i = 0; i < n_tiles; i++) {
        tile_text(tile, &tiles[i]);
        if (n > name &&
            (n - name - 1 != strlen(tile) || memcmp(text + name + 1, tile, strlen(tile))))
            continue;
        *out = (apus_choice) { v, tiles[i], i };
        return true;
    }
    return false;
}

/* Does "matmul:tile,attention:x" force `v`? */
static bool forced(const apus_choosing *from, const char *force, const apus_variant *v,
                   apus_choice *out)
{
    const size_t op = strlen(from->op);

    for (const char *p = force; p && *p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) {
        if (strncmp(p, from->op, op) || p[op] != ':')
            continue;
        if (named(from, v, p + op + 1, strcspn(p + op + 1, ","), out))
            return true;
    }
    return false;
}

static bool allowed(const apus_choosing *from, const apus_variant *v)
{
    return v->narrow <= from->narrow && (!v->sound || v->sound(from->caps, from->problem));
}

static apus_choice default_of(const apus_choosing *from)
{
    apus_tile tiles[APUS_MOST_TILES];

    for (size_t i = 0; i < from->n; i++) {
        const apus_variant *v = &from->variants[i];

        if (fits(from, v) && allowed(from, v) &&
            (!v->chosen || v->chosen(from->caps, from->problem))) {
            tiles_of(from, v, tiles);
            return (apus_choice) { v, tiles[0], 0 };
        }
    }
    return (apus_choice) { 0 };
}

apus_choice apus_choice_find(const apus_choosing *from, const char *force, const char *wanted)
{
    apus_choice found;

    for (size_t i = 0; i < from->n; i++)
        if (forced(from, force, &from->variants[i], &found))
            return found;
    for (size_t i = 0; wanted && i < from->n; i++)
        if (allowed(from, &from->variants[i]) &&
            named(from, &from->variants[i], wanted, strlen(wanted), &found))
            return found;
    return default_of(from);
}

void apus_choice_each(const apus_choosing *from, void (*each)(void *user, const apus_choice *c),
                      void *user)
{
    const apus_choice first = default_of(from);
    apus_tile tiles[APUS_MOST_TILES];

    if (first.variant)
        each(user, &first);
    for (size_t i = 0; i < from->n; i++) {
        const apus_variant *v = &from->variants[i];

        if (!fits(from, v) || !allowed(from, v))
            continue;
        const uint32_t n = tiles_of(from, v, tiles);
        for (uint32_t k = v == first.variant; k < n; k++)
            each(user, &(apus_choice) { v, tiles[k], k });
    }
}

const apus_variant *apus_variant_find(const apus_caps *caps, apus_narrow narrow, const char *force,
                                      const char *op, const apus_variant *variants, size_t n,
                                      const void *problem)
{
    const apus_choosing from = { caps, op, variants, n, problem, narrow };

    return apus_choice_find(&from, force, NULL).variant;
}

/* ---- all choices of a graph ---- */

typedef struct adding {
    apus_site *site;
    apus_status st;
} adding;

static void add_choice(void *user, const apus_choice *c)
{
    adding *a = user;
    char text[APUS_CHOICE_ROOM];

    if (a->st == APUS_OK)
        a->st = apus_grow(&a->site->choices, a->site->n, 1, &a->site->room, sizeof(char *));
    if (a->st != APUS_OK)
        return;
    apus_choice_text(text, c);
    a->site->choices[a->site->n] = apus_strdup(text);
    if (!a->site->choices[a->site->n++])
        a->st = APUS_ERR_MEMORY;
}

apus_status apus_sites_at(apus_sites *sites, const apus_choosing *from, const char *problem,
                          uint32_t *index)
{
    adding a = { .st = APUS_OK };

    for (uint32_t i = 0; i < sites->n; i++)
        if (sites->at[i].narrow == from->narrow && !strcmp(sites->at[i].problem, problem)) {
            *index = i;
            return APUS_OK;
        }
    APUS_FORWARD(apus_grow(&sites->at, sites->n, 1, &sites->room, sizeof(*sites->at)));
    *index = sites->n;
    a.site = &sites->at[sites->n++];
    *a.site = (apus_site) { .problem = apus_strdup(problem), .narrow = from->narrow };
    if (!a.site->problem)
        return APUS_ERR_MEMORY;
    apus_choice_each(from, add_choice, &a);
    return a.st;
}

void apus_sites_release(apus_sites *sites)
{
    for (uint32_t i = 0; i < sites->n; i++) {
        for (uint32_t k = 0; k < sites->at[i].n; k++)
            apus_free(sites->at[i].choices[k]);
        apus_free(sites->at[i].choices);
        apus_free(sites->at[i].problem);
    }
    apus_free(sites->at);
    *sites = (apus_sites) { 0 };
}
