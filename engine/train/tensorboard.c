/* tensorboard.c - TensorFlow's record file of Event messages.
 *
 * A record is: length (u64), masked CRC of those 8 bytes (u32), the message, masked CRC of the
 * message (u32); little-endian.  The CRC is CRC-32C; the mask rotates it right by 15 and adds
 * 0xa282ead8, so that a CRC of data that holds CRCs is no trouble.  The first message says
 * "brain.Event:2". */
#include "tensorboard.h"

#include <ctype.h>
#include <isa-l.h>
#include <limits.h>
#include <stdio.h>

#include "tensorboard.pb-c.h"

#include "file.h"
#include "os.h"

#define DT_STRING 7

struct apus_tensorboard {
    char *path;
};

uint32_t apusi_masked_crc(const void *data, size_t bytes)
{
    /* ISA-L takes no more than INT_MAX bytes at once and does not change the buffer. */
    unsigned char *at = (unsigned char *)(uintptr_t)data;
    uint32_t crc = ~0u;

    while (bytes) {
        const int part = bytes > INT_MAX ? INT_MAX : (int)bytes;
        crc = crc32_iscsi(at, part, crc);
        at += part;
        bytes -= (size_t)part;
    }
    crc = ~crc;
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

static void put_u32(uint8_t *at, uint32_t x)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(x >> (8 * i));
}

static apus_status append_event(const apus_tensorboard *board, ApusiTb__Event *event)
{
    const size_t bytes = apusi_tb__event__get_packed_size(event);
    uint8_t *record = apus_alloc(bytes + 16);
    apus_status st;

    if (!record)
        return APUS_ERR_MEMORY;
    put_u32(record, (uint32_t)bytes);
    put_u32(record + 4, (uint32_t)((uint64_t)bytes >> 32));
    put_u32(record + 8, apusi_masked_crc(record, 8));
    apusi_tb__event__pack(event, record + 12);
    put_u32(record + 12 + bytes, apusi_masked_crc(record + 12, bytes));
    st = apus_file_append(board->path, record, bytes + 16);
    apus_free(record);
    return st;
}

/* One value of a tag as an event. */
static apus_status append_value(const apus_tensorboard *board, ApusiTb__Value *value, uint64_t step)
{
    ApusiTb__Summary summary = APUSI_TB__SUMMARY__INIT;
    ApusiTb__Event event = APUSI_TB__EVENT__INIT;

    summary.value = &value;
    summary.n_value = 1;
    event.wall_time = apus_wall_seconds();
    event.step = (int64_t)step;
    event.what_case = APUSI_TB__EVENT__WHAT_SUMMARY;
    event.summary = &summary;
    return append_event(board, &event);
}

/* The first line of /etc/hostname as far as it is fit for a file's name. */
static void host_name(char *out, size_t room)
{
    char *text = NULL;
    size_t bytes, n = 0;

    if (apus_file_read(&text, &bytes, "/etc/hostname", 4096) == APUS_OK) {
        while (n + 1 < room && n < bytes &&
               (isalnum((unsigned char)text[n]) || text[n] == '-' || text[n] == '.')) {
            out[n] = text[n];
            n++;
        }
    }
    apus_free(text);
    out[n] = 0;
    if (n == 0)
        snprintf(out, room, "localhost");
}

static apus_status make_path(apus_tensorboard *board, const apus_tensorboard_params *params)
{
    char host[128], name[256];

    if (params->host)
        snprintf(host, sizeof host, "%s", params->host);
    else
        host_name(host, sizeof host);
    snprintf(name, sizeof name, "events.out.tfevents.%llu.%s.%llu.0",
             (unsigned long long)apus_wall_seconds(), host,
             (unsigned long long)(params->pid ? params->pid : apus_now_ns() % 4194304));
    board->path = apus_path_join(params->folder, name);
    return board->path ? APUS_OK : APUS_ERR_MEMORY;
}

apus_status apus_tensorboard_open(apus_tensorboard **out, const apus_tensorboard_params *params)
{
    apus_status st;
    apus_tensorboard *board = apus_alloc(sizeof(*board));
    ApusiTb__Event event = APUSI_TB__EVENT__INIT;
    char version[] = "brain.Event:2";

    *out = NULL;
    if (!board)
        return APUS_ERR_MEMORY;
    APUS_TRY(apus_dir_create(params->folder));
    APUS_TRY(make_path(board, params));
    event.wall_time = apus_wall_seconds();
    event.what_case = APUSI_TB__EVENT__WHAT_FILE_VERSION;
    event.file_version = version;
    APUS_TRY(append_event(board, &event));
    *out = board;
    return APUS_OK;

fail:
    apus_tensorboard_close(&board);
    return st;
}

void apus_tensorboard_close(apus_tensorboard **board)
{
    if (!*board)
        return;
    apus_free((*board)->path);
    apus_free(*board);
    *board = NULL;
}

const char *apus_tensorboard_path(const apus_tensorboard *board)
{
    return board->path;
}

apus_status apus_tensorboard_scalar(apus_tensorboard *board, const char *tag, uint64_t step,
                                    double number)
{
    ApusiTb__Value value = APUSI_TB__VALUE__INIT;

    value.tag = (char *)(uintptr_t)tag; /* packed, not changed */
    value.value_case = APUSI_TB__VALUE__VALUE_SIMPLE_VALUE;
    value.simple_value = (float)number;
    return append_value(board, &value, step);
}

apus_status apus_tensorboard_text(apus_tensorboard *board, const char *name, const char *text)
{
    ApusiTb__PluginData plugin = APUSI_TB__PLUGIN_DATA__INIT;
    ApusiTb__SummaryMetadata metadata = APUSI_TB__SUMMARY_METADATA__INIT;
    ApusiTb__Dim dim = APUSI_TB__DIM__INIT, *dims[1] = { &dim };
    ApusiTb__TensorShape shape = APUSI_TB__TENSOR_SHAPE__INIT;
    ApusiTb__Tensor tensor = APUSI_TB__TENSOR__INIT;
    ApusiTb__Value value = APUSI_TB__VALUE__INIT;
    ProtobufCBinaryData string = { strlen(text), (uint8_t *)(uintptr_t)text };
    char plugin_name[] = "text", tag[160];

    snprintf(tag, sizeof tag, "%s/text_summary", name);
    plugin.plugin_name = plugin_name;
    metadata.plugin_data = &plugin;
    dim.size = 1;
    shape.dim = dims;
    shape.n_dim = 1;
    tensor.dtype = DT_STRING;
    tensor.tensor_shape = &shape;
    tensor.string_val = &string;
    tensor.n_string_val = 1;
    value.tag = tag;
    value.metadata = &metadata;
    value.value_case = APUSI_TB__VALUE__VALUE_TENSOR;
    value.tensor = &tensor;
    return append_value(board, &value, 0);
}

apus_status apus_tensorboard_log(apus_tensorboard *board, const apus_log_entry *entry)
{
    char tag[160];

    for (size_t i = 0; i < entry->n_values; i++) {
        apus_log_tag(tag, sizeof tag, entry->values[i].key);
        APUS_FORWARD(apus_tensorboard_scalar(board, tag, entry->step, entry->values[i].number));
    }
    return apus_tensorboard_scalar(board, "train/epoch", entry->step, entry->epoch);
}
