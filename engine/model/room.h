/* room.h - what there is for a model's buffers, on its device and on the host. */
#ifndef APUSI_ROOM_H
#define APUSI_ROOM_H

#include "model.h"

/* On a device that shares the host's memory there is one pool for both. */
typedef struct apus_room {
    char name[256]; /* of the device */
    uint64_t heap;  /* of the device: what it has */
    uint64_t free;  /* of the host: what can still be taken */
    bool shared;
} apus_room;

/* `held`: bytes of the host's memory that will be taken anew, but are taken now. */
void apus_room_of(apus_room *out, const apus_model *model, uint64_t held);
/* Whether buffers of so many bytes fit. */
bool apus_room_fits(const apus_room *room, uint64_t device, uint64_t host);
/* Of buffers that do not fit: where (borrowed from room), what they need there, what there is. */
const char *apus_room_short(const apus_room *room, uint64_t device, uint64_t host, uint64_t *needed,
                            uint64_t *there);

/* The fewest of something with which a run fits, where more of it never takes more: with none it
 * does not, with *n it does. */
apus_status apus_fewest(uint32_t *n, apus_status (*fits)(void *user, uint32_t n, bool *ok),
                        void *user);

#endif
