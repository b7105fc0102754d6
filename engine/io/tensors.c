/* tensors.c - the table of a file's tensors and the hash index under it.  Tables are sized once
 * from a count that the caller has bounded by the bytes of the file. */
#include "io_internal.h"
#include "rng.h"

static size_t slot_of(const apusi_index *index, const char *name)
{
    size_t at = (size_t)apus_hash(name, strlen(name), APUS_HASH_SEED) & (index->n_slots - 1);

    while (index->slots[at] && strcmp(index->names[index->slots[at] - 1], name) != 0)
        at = (at + 1) & (index->n_slots - 1);
    return at;
}

apus_status apusi_index_reserve(apusi_index *index, size_t room)
{
    size_t n_slots = 16;
    const char **names;
    uint32_t *slots;

    if (room <= index->room)
        return APUS_OK;
    if (room > UINT32_MAX / 4)
        return apus_fail(APUS_ERR_FORMAT, "%zu names in one file are too many", room);
    while (n_slots < room * 2)
        n_slots *= 2;
    names = apus_calloc(room, sizeof(*names));
    slots = apus_calloc(n_slots, sizeof(*slots));
    if (!names || !slots) {
        apus_free(names);
        apus_free(slots);
        return APUS_ERR_MEMORY;
    }
    if (index->n)
        memcpy(names, index->names, index->n * sizeof(*names));
    apus_free(index->names);
    apus_free(index->slots);
    index->names = names;
    index->slots = slots;
    index->room = room;
    index->n_slots = n_slots;
    for (size_t i = 0; i < index->n; i++)
        slots[slot_of(index, names[i])] = (uint32_t)i + 1;
    return APUS_OK;
}

bool apusi_index_add(apusi_index *index, const char *name)
{
    size_t at;

    APUS_BUG_IF(index->n >= index->room);
    at = slot_of(index, name);
    if (index->slots[at])
        return false;
    index->names[index->n++] = name;
    index->slots[at] = (uint32_t)index->n;
    return true;
}

size_t apusi_index_find(const apusi_index *index, const char *name)
{
    size_t at;

    if (!index->n)
        return APUSI_NONE;
    at = slot_of(index, name);
    return index->slots[at] ? index->slots[at] - 1 : APUSI_NONE;
}

void apusi_index_release(apusi_index *index)
{
    apus_free(index->names);
    apus_free(index->slots);
    memset(index, 0, sizeof(*index));
}

apus_status apusi_tensors_reserve(apusi_tensors *tensors, size_t room)
{
    apus_file_tensor *grown;

    if (room <= tensors->index.room)
        return APUS_OK;
    if (room > SIZE_MAX / sizeof(*grown))
        return apus_fail(APUS_ERR_FORMAT, "%zu tensors in one file are too many", room);
    grown = apus_realloc(tensors->at, room * sizeof(*grown));
    if (!grown)
        return APUS_ERR_MEMORY;
    tensors->at = grown;
    return apusi_index_reserve(&tensors->index, room);
}

apus_status apusi_tensors_add(apusi_tensors *tensors, const apus_file_tensor *tensor,
                              const char *where)
{
    if (!apusi_index_add(&tensors->index, tensor->name))
        return apus_fail(APUS_ERR_FORMAT, "%s: tensor '%s' is there twice", where, tensor->name);
    tensors->at[tensors->index.n - 1] = *tensor;
    return APUS_OK;
}

const apus_file_tensor *apusi_tensors_find(const apusi_tensors *tensors, const char *name)
{
    const size_t at = apusi_index_find(&tensors->index, name);

    return at == APUSI_NONE ? NULL : &tensors->at[at];
}

void apusi_tensors_release(apusi_tensors *tensors)
{
    apus_free(tensors->at);
    tensors->at = NULL;
    apusi_index_release(&tensors->index);
}

apus_status apus_file_tensor_check(const apus_file_tensor *tensor, const char *where)
{
    if (tensor->dtype != APUS_DTYPE_COUNT)
        return APUS_OK;
    return apus_fail(APUS_ERR_SUPPORT, "%s: tensor '%s' has format %s: not supported yet", where,
                     tensor->name, tensor->format);
}

uint64_t apus_file_tensor_elements(const apus_file_tensor *tensor)
{
    uint64_t n = 1;

    for (uint32_t i = 0; i < tensor->n_dims; i++)
        n *= tensor->dims[i];
    return n;
}
