/* choice.h - which algorithm with which tile: forced, wanted or by default; and all that there are.
 *
 * A choice has a text: "cpu", or "cpu/64x2" with a tile that is not the algorithm's default one.
 * Only tiles that the algorithm itself lists for a problem are taken, whoever asks for them. */
#ifndef APUSI_CHOICE_H
#define APUSI_CHOICE_H

#include "lower.h"

#define APUS_MOST_TILES 16
#define APUS_CHOICE_ROOM 64   /* of its text */
#define APUS_PROBLEM_ROOM 160 /* of "matmul nt 512x576x576 q4_1" */

/* What is chosen from. */
typedef struct apus_choosing {
    const apus_caps *caps;
    const char *op;
    const apus_variant *variants;
    size_t n;
    const void *problem;
    apus_narrow narrow; /* how far algorithms may round their inputs */
} apus_choosing;

typedef struct apus_choice {
    const apus_variant *variant; /* NULL: none fits */
    apus_tile tile;
    uint32_t at; /* of the variant's tiles; 0: the default */
} apus_choice;

void apus_choice_text(char out[APUS_CHOICE_ROOM], const apus_choice *choice);

/* The first variant that is forced ("op:choice[,op:choice]" or ""; narrow ones too) and fits; else
 * the text `wanted`, if not NULL and if it fits; else the default. */
apus_choice apus_choice_find(const apus_choosing *from, const char *force, const char *wanted);
/* Call back with all that fit, the default first. */
void apus_choice_each(const apus_choosing *from, void (*each)(void *user, const apus_choice *c),
                      void *user);
/* The variant that is found where nothing is wanted, or NULL. */
const apus_variant *apus_variant_find(const apus_caps *caps, apus_narrow narrow, const char *force,
                                      const char *op, const apus_variant *variants, size_t n,
                                      const void *problem);
/* Whether the n bytes are the text of a choice: a name, then perhaps "/" and numbers with "x"
 * between them.  *name_bytes is the length of the name. */
bool apus_choice_is_text(const char *text, size_t n, size_t *name_bytes);

/* ---- all choices of a graph ---- */

/* A problem that the graph has once or more often. */
typedef struct apus_site {
    char *problem; /* as in the list of choices */
    apus_narrow narrow;
    char **choices; /* texts of all that fit, the default first */
    uint32_t n;
    size_t room;
    const char *pick; /* what is chosen for it; NULL: the default */
} apus_site;

typedef struct apus_sites {
    apus_site *at;
    uint32_t n;
    size_t room;
} apus_sites;

/* The index of a problem, which is added with all its choices if it is new.
 * Errors: APUS_ERR_MEMORY. */
apus_status apus_sites_at(apus_sites *sites, const apus_choosing *from, const char *problem,
                          uint32_t *index);
void apus_sites_release(apus_sites *sites); /* safe on {0} */

#endif
